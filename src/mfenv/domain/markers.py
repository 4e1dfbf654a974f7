"""Environment markers (PEP 508), evaluated for the machine that a step will run on and not for this one."""

from __future__ import annotations

from collections.abc import Iterable

from mfenv.domain.platform import Platform, Target
from mfenv.domain.python import PythonConstraint
from mfenv.errors import InvalidSpec

_MACHINES = {
    Platform.LINUX_64: "x86_64",
    Platform.LINUX_AARCH64: "aarch64",
    Platform.OSX_64: "x86_64",
    Platform.OSX_ARM64: "arm64",
}
# Minor versions that a constraint is tried with; later ones than exist cost nothing.
_MINORS = tuple((3, minor) for minor in range(7, 21))


def marker_environment(target: Target, python: str) -> dict[str, str]:
    """Return the variables of markers (PEP 508) for CPython `python` (``3.11.7`` or ``3.11``) on `target`.

    The releases of kernels are those of the target's virtual packages.
    """
    is_linux = target.platform.is_linux
    minor = ".".join(python.split(".")[:2])
    full = python if python.count(".") > 1 else f"{python}.0"
    return {
        "implementation_name": "cpython",
        "implementation_version": full,
        "os_name": "posix",
        "platform_machine": _MACHINES[target.platform],
        "platform_python_implementation": "CPython",
        "platform_release": (target.version_of("__linux") or "") if is_linux else "",
        "platform_system": "Linux" if is_linux else "Darwin",
        "platform_version": "",
        "python_full_version": full,
        "python_version": minor,
        "sys_platform": "linux" if is_linux else "darwin",
        "extra": "",
    }


def applies(marker: str, *, target: Target, pythons: Iterable[str]) -> bool | None:
    """Tell whether `marker` holds on `target`; None when it does for some of `pythons` and for others not.

    Raises `InvalidSpec` for one that compares what cannot be compared.
    """
    # Loaded here: few packages have markers.
    from packaging.markers import Marker, UndefinedComparison, UndefinedEnvironmentName
    from packaging.version import InvalidVersion

    parsed = Marker(marker)
    try:
        answers = {parsed.evaluate(marker_environment(target, python)) for python in pythons}
    except (InvalidVersion, UndefinedComparison, UndefinedEnvironmentName, KeyError) as error:
        raise InvalidSpec(
            f"the marker `{marker}` cannot be evaluated",
            hint="Compare a variable with a text: `sys_platform == 'linux'`",
        ) from error
    return answers.pop() if len(answers) == 1 else None


def normal_marker(text: str, *, where: str) -> str:
    """Return a marker in the spelling that the library `packaging` gives it. Raises `InvalidSpec` naming `where`."""
    from packaging.markers import InvalidMarker, Marker

    try:
        return str(Marker(text))
    except (InvalidMarker, RecursionError) as error:
        raise InvalidSpec(
            f"{where}: `{text}` is not a marker",
            hint="Write for example `>=1.26; sys_platform == 'linux'`",
            output=str(error),
        ) from error


def pythons_of(constraint: PythonConstraint) -> tuple[str, ...]:
    """Return the minor versions of Python that a constraint leaves room for, or the exact one that it names."""
    exact = constraint.version.removeprefix("==")
    if constraint.version.startswith("==") and exact.replace(".", "").isdigit():
        return (exact,)
    return tuple(f"{major}.{minor}" for major, minor in _MINORS if constraint.admits_minor(major, minor))
