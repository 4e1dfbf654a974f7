"""What cannot be had for another platform, because it would have to be built there."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.errors import EnvironmentsError, ResolutionFailed

_SENTENCE = "Cannot resolve environment across architectures as it depends on local files or non-wheel packages"


class ForeignBuildError(ResolutionFailed):
    """Wheels for another platform would have to be built here, and are not pure Python."""

    def __init__(
        self,
        wheels: Mapping[str, Sequence[str]],
        platform: Platform,
        *,
        instead: Mapping[str, str] | None = None,
        output: str = "",
    ) -> None:
        """Name projects with the tags of the wheels they do have; `instead` is what conda has in their place."""
        self.wheels = wheels
        self.platform = platform
        self.instead = instead or {}
        reasons = [
            f"`{name}` has no wheel for {platform.value}"
            + (f", only for {', '.join(f'`{tag}`' for tag in tags)}" if tags else "")
            for name, tags in wheels.items()
        ]
        hints = [
            f"take it from conda, whose channels have it: {self.instead[name]}"
            if name in self.instead
            else f"resolve `{name}` on {platform.value}, or ask for a version that has a wheel"
            for name in wheels
        ]
        hint = "; ".join(dict.fromkeys(hints))
        super().__init__(
            f"{_SENTENCE}: {'; '.join(reasons)}", hint=hint[:1].upper() + hint[1:], output=output, packages=wheels
        )


def joined(errors: Sequence[ForeignBuildError]) -> ForeignBuildError:
    """Make one error of several for the same platform."""
    return ForeignBuildError(
        {name: tags for error in errors for name, tags in error.wheels.items()},
        errors[0].platform,
        instead={name: text for error in errors for name, text in error.instead.items()},
        output="\n".join(error.output for error in errors if error.output),
    )


def with_conda(
    error: ForeignBuildError, versions: Callable[[Sequence[MatchSpec]], Mapping[str, Sequence[str]]]
) -> ForeignBuildError:
    """Return the error with what conda channels have under one of the usual names; `versions` asks them."""
    instead = {}
    for name in error.wheels:
        names = [name, f"python-{name}", f"{name}-python", f"py{name}"]
        try:
            found = versions([MatchSpec(name=other) for other in names])
        except EnvironmentsError:
            continue
        if there := next((other for other in names if found.get(other)), None):
            instead[name] = f'@conda(packages={{"{there}": "{found[there][0]}"}})'
    return ForeignBuildError(error.wheels, error.platform, instead=instead, output=error.output)
