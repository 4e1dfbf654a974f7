"""Resolve many requests: each distinct one once, all at the same time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor

from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import ResolvedEnvironment
from mfenv.errors import EnvironmentsError
from mfenv.resolve.base import Resolver

_AT_ONCE = 16


def resolve_all(
    requests: Iterable[ResolutionRequest],
    resolver: Resolver,
    on_answer: Callable[[ResolvedEnvironment | EnvironmentsError], None] = lambda _answer: None,
) -> Mapping[ResolutionRequest, ResolvedEnvironment | EnvironmentsError]:
    """Return for each distinct request its answer or the error that it ended with.

    Errors are values here: a flow with two impossible steps should hear of both. `on_answer` hears of each answer when
    it is there, from any thread.
    """
    distinct = list(dict.fromkeys(requests))

    def one(request: ResolutionRequest) -> ResolvedEnvironment | EnvironmentsError:
        answer: ResolvedEnvironment | EnvironmentsError
        try:
            answer = resolver.resolve(request)
        except EnvironmentsError as error:
            answer = error
        on_answer(answer)
        return answer

    pool = ThreadPoolExecutor(max_workers=max(1, min(_AT_ONCE, len(distinct))))
    try:
        return dict(zip(distinct, pool.map(one, distinct), strict=True))
    finally:
        # All have answered, or the user interrupted and waits for nobody.
        pool.shutdown(wait=False, cancel_futures=True)
