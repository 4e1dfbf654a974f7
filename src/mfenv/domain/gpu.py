"""Builds that would leave a GPU idle."""

from __future__ import annotations

from mfenv.domain.locked import LockedEnvironment

# conda-forge's names, whose build strings say `cpu` or `cuda`.
_CONDA = frozenset({"pytorch", "pytorch-cpu", "libtorch", "jaxlib", "tensorflow", "tensorflow-base", "tensorflow-cpu"})


def cpu_only(lock: LockedEnvironment) -> tuple[str, ...]:
    """Return the deep-learning packages of `lock` that are built for the CPU alone, as ``name version``."""
    found = [
        f"{package.name} {package.version}"
        for package in lock.packages
        if package.name in _CONDA and ("cpu" in package.record.build or package.name.endswith("-cpu"))
    ]
    names = {package.name for package in lock.pypi}
    has_nvidia = any(name.startswith("nvidia-") for name in names)
    for package in lock.pypi:
        label = f"{package.name} {package.version}"
        match package.name:
            case "torch" if "+cpu" in package.version:
                found.append(label)
            case "tensorflow-cpu":
                found.append(label)
            # These bring CUDA by their extras only.
            case "tensorflow" if not has_nvidia:
                found.append(label)
            case "jaxlib" if not any(name.startswith(("jax-cuda", "jax-rocm")) for name in names):
                found.append(label)
    return tuple(found)
