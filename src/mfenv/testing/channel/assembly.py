"""Make a channel's packages, in several processes, and put the finished channel in place."""

from __future__ import annotations

import shutil
import sys
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uv
from packaging.specifiers import SpecifierSet

from mfenv.testing.channel import special
from mfenv.testing.channel.build import choose_interpreters, running_minor
from mfenv.testing.channel.catalog import WHEEL_SETS, WheelSet, formats_of
from mfenv.testing.channel.cpython import python_abi_package, python_package
from mfenv.testing.channel.foreign import foreign_copy, platform_packages
from mfenv.testing.channel.indexing import index_channel
from mfenv.testing.channel.layout import (
    EXTRA,
    HOSTILE,
    MAIN,
    TAMPERED,
    LocalChannel,
    sorted_versions,
)
from mfenv.testing.channel.native import (
    NativeLibrary,
    compiler_runtime,
    libraries_of,
    library_package,
    requirements_among,
)
from mfenv.testing.channel.package import ArchiveFormat, CondaPackage, WrittenPackage, write_package
from mfenv.testing.channel.subdirs import SUBDIRS, host_subdir
from mfenv.testing.channel.wheels import (
    Distribution,
    WheelSetError,
    distinct,
    distribution_package,
    unpack_wheels,
    wheel_data,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from mfenv.testing.channel.interpreters import Interpreter


@dataclass(frozen=True, slots=True, kw_only=True)
class _Workshop:
    """Where a channel is being built, and the processes that write packages."""

    root: Path
    scratch: Path
    subdir: str
    pool: ProcessPoolExecutor

    @property
    def main(self) -> Path:
        return self.root / MAIN


def make_channel(root: Path, key: str, interpreters: Sequence[Interpreter], say: Callable[[str], None]) -> None:
    """Build the channel and put it at ``root``, in place of what is there. The caller holds the lock."""
    # Beside the channel, where the next build finds and removes what a killed one has left.
    partial, scratch = root.with_name(root.name + ".partial"), root.with_name(root.name + ".scratch")
    for folder in (partial, scratch):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        workshop = _Workshop(root=partial, scratch=scratch, subdir=host_subdir(), pool=pool)
        written = _write_main(workshop, interpreters, say)
        _write_small_channels(workshop)
    _describe(partial, key, interpreters, written)
    _put_in_place(partial, root)
    shutil.rmtree(scratch, ignore_errors=True)


def _put_in_place(partial: Path, root: Path) -> None:
    retired = root.with_name(root.name + ".retired")
    shutil.rmtree(retired, ignore_errors=True)
    if root.exists():
        root.rename(retired)
    partial.rename(root)
    shutil.rmtree(retired, ignore_errors=True)


def _write_main(
    workshop: _Workshop, interpreters: Sequence[Interpreter], say: Callable[[str], None]
) -> list[WrittenPackage]:
    libraries = {each.minor: libraries_of(each) if _is_linux(workshop) else () for each in interpreters}
    runtime = compiler_runtime() if _is_linux(workshop) else ()
    jobs: list[Future[WrittenPackage]] = []
    for each in interpreters:
        pins = tuple(library.pin for library in libraries[each.minor])
        folder = workshop.scratch / f"python-{each.minor}"
        folder.mkdir()
        jobs.append(workshop.pool.submit(_write_python, each, pins, workshop.subdir, folder, workshop.main))
    say(f"pythons: {', '.join(each.version for each in interpreters)}")
    distributions = _unpack(workshop, interpreters, say)
    jobs += _submit_distributions(workshop, distributions, [library.pin for library in runtime])
    small = [
        *_library_packages(workshop.subdir, runtime, libraries.values()),
        *(python_abi_package(each) for each in interpreters),
        *special.main_packages(workshop.subdir),
        special.time_zones(wheel_data(distributions, "tzdata")),
        special.certificates(wheel_data(distributions, "certifi")),
        *_aliases(distributions),
    ]
    written = [write_package(each, workshop.main, formats_of(each.name)) for each in small]
    written += [job.result() for job in jobs]
    say(f"packages: {len(written)}")
    _write_foreign(workshop, written)
    index_channel(workshop.main)
    return written


def _is_linux(workshop: _Workshop) -> bool:
    return workshop.subdir.startswith("linux-")


def _write_python(
    interpreter: Interpreter, pins: tuple[str, ...], subdir: str, scratch: Path, channel: Path
) -> WrittenPackage:
    package = python_package(interpreter, pins, subdir, scratch)
    return write_package(package, channel)


def _write_distribution(
    group: tuple[Distribution, ...],
    pythons: tuple[str, ...],
    runtime: Sequence[str],
    subdir: str,
    channel: Path,
) -> WrittenPackage:
    package = distribution_package(group, pythons, runtime, subdir)
    return write_package(package, channel, formats_of(package.name))


def _unpack(workshop: _Workshop, interpreters: Sequence[Interpreter], say: Callable[[str], None]) -> list[Distribution]:
    program = uv.find_uv_bin()

    def unpack(job: tuple[int, WheelSet, Interpreter]) -> tuple[Distribution, ...]:
        number, wheel_set, interpreter = job
        found = unpack_wheels(
            program, wheel_set, interpreter, workshop.scratch / f"wheels-{interpreter.minor}-{number}"
        )
        if not found:
            say(f"no wheels for Python {interpreter.minor}: {' '.join(wheel_set.requirements)}")
        return found

    jobs = [
        (number, wheel_set, interpreter)
        for number, wheel_set in enumerate(WHEEL_SETS)
        for interpreter in interpreters
        if interpreter.minor in wheel_set.pythons
        and (not wheel_set.only_running or interpreter.minor == running_minor())
    ]
    with ThreadPoolExecutor(4) as threads:
        return [each for found in threads.map(unpack, jobs) for each in found]


def _submit_distributions(
    workshop: _Workshop, distributions: Sequence[Distribution], runtime: Sequence[str]
) -> list[Future[WrittenPackage]]:
    pythons: dict[tuple[str, str], set[str]] = {}
    for each in distributions:
        pythons.setdefault((each.name, each.version), set()).add(each.interpreter.minor)
    groups = distinct(distributions)
    # The large ones first, so that no process is left alone with one at the end.
    ordered = sorted(groups, key=lambda group: group[0].is_pure)
    return [
        workshop.pool.submit(
            _write_distribution,
            group,
            tuple(pythons[group[0].name, group[0].version]),
            runtime,
            workshop.subdir,
            workshop.main,
        )
        for group in ordered
    ]


def _library_packages(
    subdir: str, runtime: Sequence[NativeLibrary], by_python: Iterable[Sequence[NativeLibrary]]
) -> Iterator[CondaPackage]:
    seen: set[tuple[str, str, str]] = set()
    for libraries in (runtime, *by_python):
        others = {library.name: library for library in (*runtime, *libraries)}.values()
        for library in libraries:
            package = library_package(library, requirements_among(library, others), subdir)
            key = (package.name, package.version, package.build)
            if key not in seen:
                seen.add(key)
                yield package


def _aliases(distributions: Iterable[Distribution]) -> Iterator[CondaPackage]:
    versions = {each.version for each in distributions if each.name == "typing-extensions"}
    yield from (special.typing_extensions_alias(version) for version in sorted(versions))


def _write_foreign(workshop: _Workshop, written: Iterable[WrittenPackage]) -> None:
    compiled = [each.index for each in written if each.index["subdir"] == workshop.subdir]
    for subdir in SUBDIRS:
        if subdir == workshop.subdir:
            continue
        copies = [foreign_copy(index, subdir) for index in compiled]
        for package in (*platform_packages(subdir), *copies):
            if package is not None:
                write_package(package, workshop.main)


def _write_small_channels(workshop: _Workshop) -> None:
    for name, packages in (
        (EXTRA, special.extra_packages()),
        (TAMPERED, special.tampered_packages()),
        (HOSTILE, special.hostile_packages()),
    ):
        for package in packages:
            write_package(package, workshop.root / name)
        (workshop.root / name / workshop.subdir).mkdir(exist_ok=True)
        index_channel(workshop.root / name)
    replacement = special.replacement_for_tampered()
    folder = workshop.root / TAMPERED
    (folder / replacement.subdir / f"{replacement.stem}{ArchiveFormat.CONDA.value}").unlink()
    write_package(replacement, folder)


def _describe(
    partial: Path,
    key: str,
    interpreters: Sequence[Interpreter],
    written: Iterable[WrittenPackage],
) -> None:
    minors = [each.minor for each in interpreters]
    versions: dict[str, dict[str, set[str]]] = {minor: {} for minor in minors}
    for index in (each.index for each in written):
        for minor in _pythons_of(index, minors):
            versions[minor].setdefault(index["name"], set()).add(index["version"])
    running = running_minor()
    description = LocalChannel(
        root=partial,
        key=key,
        subdir=host_subdir(),
        pythons={each.minor: each.version for each in interpreters},
        running=running if running in minors else minors[-1],
        versions={
            minor: {name: sorted_versions(found) for name, found in sorted(packages.items())}
            for minor, packages in versions.items()
        },
    )
    description.write()


def _pythons_of(index: Mapping[str, Any], minors: Sequence[str]) -> list[str]:
    """Give those of ``minors`` that a package goes with, from its requirement on ``python``."""
    if index["name"] in ("python", "python_abi"):
        return [minor for minor in minors if index["version"].split(".")[:2] == minor.split(".")]
    specs = [spec.partition(" ")[2] for spec in index["depends"] if spec.split(" ")[0] == "python"]
    return [minor for minor in minors if all(_takes(spec, minor) for spec in specs)]


def _takes(spec: str, minor: str) -> bool:
    """Tell whether a version spec, as this builder writes them, takes a release of Python ``minor``."""
    return any(f"{minor}.99" in _specifiers(choice) for choice in spec.split("|"))


def _specifiers(text: str) -> SpecifierSet:
    return SpecifierSet(f"=={text}" if text[:1].isdigit() else text)


def _main(arguments: Sequence[str]) -> int:
    root, key, *minors = arguments
    interpreters = choose_interpreters(minors)

    def say(text: str) -> None:
        sys.stderr.write(f"channel: {text}\n")

    try:
        make_channel(Path(root), key, interpreters, say)
    except WheelSetError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(_main(sys.argv[1:]))
