"""One error of all that failed in a flow, with the places where its trouble was written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mfenv.domain.request import ResolutionRequest
from mfenv.domain.spec import Place, SpecLayer
from mfenv.errors import EnvironmentsError, ResolutionFailed


def explained(
    failures: Mapping[ResolutionRequest, EnvironmentsError],
    requests: Mapping[str, ResolutionRequest],
    layers: Mapping[str, SpecLayer],
) -> EnvironmentsError:
    """Make one error of all that failed, each with the places where its trouble was written."""
    first = next(iter(failures.values()))
    messages = []
    for request, failure in failures.items():
        steps = [step for step, asked in requests.items() if asked == request]
        messages.append(f"{_places(failure, steps, layers)}: {failure.message}")
    hints = dict.fromkeys(failure.hint for failure in failures.values() if failure.hint)
    outputs = dict.fromkeys(failure.output for failure in failures.values() if failure.output)
    joined = type(first)("\n".join(messages), hint="; ".join(hints) or None, output="\n".join(outputs))
    if isinstance(first, ResolutionFailed) and isinstance(joined, ResolutionFailed):
        joined.packages = first.packages
    return joined


def _places(failure: EnvironmentsError, steps: Iterable[str], layers: Mapping[str, SpecLayer]) -> str:
    steps = list(steps)
    blamed: tuple[str, ...] = getattr(failure, "packages", ())
    places: dict[str, None] = {}
    for step in steps:
        written = dict(layers[step].places) if step in layers else {}
        found: list[Place] = [written[name] for name in blamed if name in written]
        # A conflict blames nobody in particular: name all that this step was asked to have.
        found = found or ([place for name, place in written.items() if not name.startswith("channel:")])
        places.update(dict.fromkeys(str(place) for place in found))
    named = ", ".join(f"`{step}`" for step in steps)
    return "; ".join(places) or f"{'step' if len(steps) == 1 else 'steps'} {named}"
