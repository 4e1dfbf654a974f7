"""Backends of an organisation: it approves packages, and keeps a list of what was installed where."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from mfenv.errors import ResolutionFailed

if TYPE_CHECKING:
    from mfenv.app.backends import Parts
    from mfenv.domain.locked import LockedEnvironment
    from mfenv.domain.request import ResolutionRequest
    from mfenv.domain.resolved import ResolvedEnvironment
    from mfenv.hydrate.conda import CondaLinker
    from mfenv.resolve.base import Resolver


@dataclass(frozen=True)
class ApprovedResolver:
    """Asks the default resolver, and refuses an answer with packages that are not approved."""

    default: Resolver
    approved: frozenset[str]
    name: str = "approved"

    def resolve(self, request: ResolutionRequest) -> ResolvedEnvironment:
        answer = self.default.resolve(request)
        if others := sorted({package.record.name for package in answer.packages} - self.approved):
            raise ResolutionFailed(
                f"{', '.join(f'`{name}`' for name in others)}: not approved", hint="Ask the platform team for approval"
            )
        return replace(answer, resolver=self.name)


@dataclass(frozen=True)
class ToldLinker:
    """Has the default linker do all the work, and writes down what it made."""

    default: CondaLinker
    told: Path

    def link(self, lock: LockedEnvironment, staging: Path, prefix: Path) -> None:
        self.default.link(lock, staging, prefix)
        self.told.parent.mkdir(parents=True, exist_ok=True)
        with self.told.open("a", encoding="utf-8") as told:
            told.write(f"{prefix}: {len(lock.packages)} packages\n")


def resolver(parts: Parts[Resolver]) -> ApprovedResolver:
    """Return the resolver; the names of approved packages are in the file that `APPROVED_PACKAGES` names."""
    approved = Path(os.environ["APPROVED_PACKAGES"]).read_text(encoding="utf-8").split()
    return ApprovedResolver(default=parts.default(), approved=frozenset(approved))


def installer(parts: Parts[CondaLinker]) -> ToldLinker:
    """Return what links; files are brought and checked before it is asked."""
    return ToldLinker(default=parts.default(), told=parts.cache / "installed.txt")
