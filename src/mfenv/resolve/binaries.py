"""Which projects must come as wheels and which must be built, in pip's words ``--only-binary`` and ``--no-binary``."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

from mfenv.domain.flags import ResolverFlag

ALL = ":all:"


@dataclass(frozen=True, slots=True, kw_only=True)
class BinaryPolicy:
    """Names of projects, ``:all:`` among them for all that the other side does not name."""

    no_binary: frozenset[str] = frozenset()
    """Those that are built although there is a wheel."""
    only_binary: frozenset[str] = frozenset()
    """Those that are never built."""

    @classmethod
    def of(cls, flags: Iterable[ResolverFlag]) -> BinaryPolicy:
        """Read the flags that say something of it; ``:none:`` names nobody."""
        found: dict[str, set[str]] = {"no-binary": set(), "only-binary": set()}
        for flag in flags:
            if flag.name in found:
                found[flag.name] |= {name for name in flag.value.split(",") if name != ":none:"}
        return cls(no_binary=frozenset(found["no-binary"]), only_binary=frozenset(found["only-binary"]))

    @property
    def without_builds(self) -> BinaryPolicy | None:
        """The same, with nothing built that does not have to be; None when all of it has to be."""
        return None if ALL in self.no_binary else replace(self, only_binary=self.only_binary | {ALL})

    def sparing(self, names: Collection[str]) -> BinaryPolicy:
        """Return the same, except that `names` may be wheels: stand-ins for what conda provides are."""
        only_binary = self.only_binary | (frozenset(names) if ALL in self.no_binary else frozenset())
        return replace(self, no_binary=self.no_binary.difference(names), only_binary=only_binary)

    @property
    def compile_arguments(self) -> list[str]:
        """The options of ``uv pip compile``."""
        named = [("--no-binary", name) for name in sorted(self.no_binary)]
        named += [("--only-binary", name) for name in sorted(self.only_binary)]
        return [text for pair in named for text in pair]

    @property
    def build_arguments(self) -> list[str]:
        """The options of ``uv build``, where they are for what the build itself needs.

        That everything is to be built is not passed on: then also the build tools were, with which tools?
        """
        named = [("--no-binary-package", name) for name in sorted(self.no_binary - {ALL})]
        named += [("--no-build-package", name) for name in sorted(self.only_binary - {ALL})]
        return [*(text for pair in named for text in pair), *(["--no-build"] if ALL in self.only_binary else [])]
