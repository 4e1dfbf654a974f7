"""Copies of this machine's packages for other platforms: real metadata, one file of text.

They resolve as the originals do; what is installed of them does not run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mfenv.testing.channel.package import CondaPackage, RegularFile
from mfenv.testing.channel.subdirs import system_floor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LINUX_ONLY = frozenset({"libgcc", "libgomp", "libuuid", "libxcrypt"})


def foreign_copy(index: Mapping[str, Any], subdir: str) -> CondaPackage | None:
    """Make the copy for ``subdir`` of a package with this ``index.json``; None when it has none there."""
    if subdir.startswith("osx-") and index["name"] in (*_LINUX_ONLY, "libstdcxx"):
        return None
    marker = f"{subdir} {index['name']} {index['version']}: metadata only\n"
    return CondaPackage(
        name=index["name"],
        version=index["version"],
        build=index["build"],
        build_number=index["build_number"],
        subdir=subdir,
        depends=tuple(_foreign_requirements(index["depends"], index["subdir"], subdir)),
        constrains=tuple(index.get("constrains", ())),
        license=index["license"],
        time=index["timestamp"] // 1000,
        site_packages_path=index.get("python_site_packages_path"),
        files={f"share/mfenv-test/{index['name']}.txt": RegularFile(marker.encode())},
    )


def platform_packages(subdir: str) -> tuple[CondaPackage, ...]:
    """Make the packages that only exist on ``subdir``: macOS' C++ library."""
    if not subdir.startswith("osx-"):
        return ()
    library = CondaPackage(name="libcxx", version="19.1.0", build="0", subdir=subdir, depends=(system_floor(subdir),))
    return (library,)


def _foreign_requirements(depends: Iterable[str], origin: str, subdir: str) -> Iterable[str]:
    to_macos = subdir.startswith("osx-") and not origin.startswith("osx-")
    for requirement in depends:
        name = requirement.split(" ")[0]
        if requirement == system_floor(origin):
            yield system_floor(subdir)
        elif to_macos and name == "libstdcxx":
            yield "libcxx >=17"
        elif not (to_macos and name in _LINUX_ONLY):
            yield requirement
