"""conda packages in either format: converted where one is preferred, both digests kept, the same environment."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mfenv.app import settings
from mfenv.app.wiring import Wiring
from mfenv.build.convert import converted
from mfenv.domain.channel import Channel
from mfenv.domain.locked import LockedEnvironment
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform
from mfenv.domain.python import PythonConstraint
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.spec import EnvironmentSpec
from mfenv.formats import lock_json
from mfenv.hydrate.plan import archive_path
from mfenv.io.files import sha256_of
from mfenv.store.backends.local import LocalBlobStore
from mfenv.testing.channel import built_channel
from mfenv.testing.fakes import FakePackage, fake_lock

NAMES = ("six", "itsdangerous", "idna", "prefixprobe", "libzlib")
OLD = {"six", "itsdangerous", "idna", "prefixprobe"}
"""Those that the channel has in the older format only."""


@pytest.fixture(scope="module")
def channel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A channel that serves a mixture of both formats."""
    source, made = built_channel().path(), tmp_path_factory.mktemp("channel") / "mixed"
    for folder in source.iterdir():
        if not (folder / "repodata.json").is_file():
            continue
        (made / folder.name).mkdir(parents=True)
        for path in folder.glob("*"):
            if path.name.endswith((".conda", ".tar.bz2")):
                (made / folder.name / path.name).symlink_to(path)
        repodata = json.loads((folder / "repodata.json").read_bytes())
        for key, unwanted in (("packages.conda", True), ("packages", False)):
            rows = repodata.get(key, {})
            repodata[key] = {name: row for name, row in rows.items() if (row["name"] in OLD) is not unwanted}
        (made / folder.name / "repodata.json").write_text(json.dumps(repodata))
    return made


def wired(folder: Path, channel: Path, preferred: str) -> Wiring:
    values = {
        "CONDA_LOCAL_PATH": str(folder / "local"),
        "CONDA_CHANNELS": str(channel),
        "CONDA_PREFERRED_FORMAT": preferred,
    }
    store = LocalBlobStore(folder.parent / "store")
    return Wiring(settings.read(values.get, {"HOME": str(folder)}), project=folder, open_store=lambda: store)


def locked(wiring: Wiring) -> LockedEnvironment:
    spec = EnvironmentSpec(
        python=PythonConstraint.minor(3, 11),
        conda=tuple(MatchSpec(name=name) for name in NAMES),
        channels=(Channel(location=str(wiring.settings.channels[0])),),
    )
    request = ResolutionRequest(spec=spec, target=wiring.settings.target(Platform.host()))
    (found,) = wiring.locker("tester").resolve([request]).values()
    assert isinstance(found, LockedEnvironment), found
    return found


@pytest.fixture
def machine(tmp_path: Path, channel: Path, request: pytest.FixtureRequest) -> Iterator[Wiring]:
    # As long a name as that of the other: the room behind a path in a binary file depends on it.
    made = wired(tmp_path / "first", channel, request.param)
    yield made
    made.close()


def damage(path: Path) -> None:
    content = path.read_bytes()
    # A file of its own: a store in a folder shares files with the archives.
    path.unlink()
    path.write_bytes(content[:-1] + b"x")


def contents(prefix: Path) -> dict[str, str]:
    """What is in a prefix, without what tells its place and the time."""
    found = {}
    for path in sorted(prefix.rglob("*")):
        name = path.relative_to(prefix).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file() and not name.startswith("conda-meta/") and name != ".mfenv-ready":
            text = path.read_bytes().replace(str(prefix).encode(), b"<prefix>")
            found[name] = f"{path.stat().st_mode & 0o111:o} {hashlib.sha256(text).hexdigest()}"
    return found


def origins(prefix: Path) -> dict[str, tuple[object, ...]]:
    records = [json.loads(path.read_bytes()) for path in (prefix / "conda-meta").glob("*.json")]
    return {row["name"]: (row["fn"], row["url"], row["sha256"], row["size"]) for row in records}


@pytest.mark.parametrize("machine", [".conda", ".tar.bz2"], indirect=True)
def test_converted_packages_make_the_same_environment(machine: Wiring, tmp_path: Path, channel: Path) -> None:
    preferred = machine.settings.preferred_format
    lock = locked(machine)
    plain = wired(tmp_path / "plain", channel, "none")
    try:
        as_served = locked(plain)
        expected = plain.hydrator.hydrate(as_served)
    finally:
        plain.close()
    for package, served in zip(lock.packages, as_served.packages, strict=True):
        assert package.artifact == served.artifact
        assert (package.converted is None) == served.artifact.file_name.endswith(preferred)
        if package.converted:
            assert package.converted.file_name.endswith(preferred)
            assert sha256_of(archive_path(package.converted, machine.folders.archives)) == package.converted.sha256
    assert {package.converted is None for package in lock.packages} == {True, False}
    assert lock.id != as_served.id
    assert lock_json.load(lock_json.dump(lock), expected=lock.id) == lock

    prefix = machine.hydrator.hydrate(lock)
    assert contents(prefix.path) == contents(expected.path)
    assert origins(prefix.path) == origins(expected.path)


@pytest.mark.parametrize("machine", [".conda"], indirect=True)
def test_the_store_has_the_preferred_format_and_other_machines_link_it(
    machine: Wiring, tmp_path: Path, channel: Path
) -> None:
    lock = locked(machine)
    machine.sharer.share([lock.id])
    store = machine.shared()
    assert store is not None
    names = {info.key.rpartition("/")[2] for info in store.list("mfenv/v1/packages/")}
    assert names == {artifact.file_name for artifact in lock.stored_artifacts}
    assert {name.rpartition(".")[2] for name in names} == {"conda"}
    # With the setting or without it: the lock says what there is.
    other = wired(tmp_path / "other", channel, "none")
    try:
        found = other.locks.get(lock.id)
        assert found == lock
        prefix = other.hydrator.hydrate(lock)
        assert not list(other.folders.archives.rglob("*.tar.bz2"))
        assert origins(prefix.path)["six"][0] == next(p for p in lock.packages if p.name == "six").artifact.file_name
    finally:
        other.close()


@pytest.mark.parametrize("machine", [".conda"], indirect=True)
def test_a_converted_file_that_is_damaged_is_not_shared_but_what_the_channel_serves(
    machine: Wiring, tmp_path: Path, channel: Path
) -> None:
    lock = locked(machine)
    (six,) = (package for package in lock.packages if package.name == "six")
    assert six.converted
    damage(archive_path(six.converted, machine.folders.archives))
    machine.sharer.share([lock.id])
    store = machine.shared()
    assert store is not None
    names = {info.key.rpartition("/")[2] for info in store.list("mfenv/v1/packages/")}
    rest = {artifact.file_name for artifact in lock.stored_artifacts if artifact != six.converted}
    assert names == {six.artifact.file_name, *rest}
    other = wired(tmp_path / "other", channel, "none")
    try:
        assert (other.hydrator.hydrate(lock).path / "lib/python3.11/site-packages/six.py").is_file()
        assert {path.name for path in other.folders.archives.rglob("*.tar.bz2")} == {six.artifact.file_name}
    finally:
        other.close()


@pytest.mark.parametrize("machine", [".conda"], indirect=True)
def test_a_converted_file_that_is_damaged_comes_from_the_store_where_its_origin_is_gone(
    machine: Wiring, tmp_path: Path
) -> None:
    lock = locked(machine)
    machine.sharer.share([lock.id])
    packages = []
    for package in lock.packages:
        gone = (tmp_path / "gone" / package.artifact.file_name).as_uri()
        packages.append(replace(package, artifact=replace(package.artifact, url=gone)))
        if package.converted:
            archive_path(package.artifact, machine.folders.archives).unlink()
            damage(archive_path(package.converted, machine.folders.archives))
    prefix = machine.hydrator.hydrate(replace(lock, packages=tuple(packages)))
    assert (prefix.path / "lib/python3.11/site-packages/six.py").is_file()


@pytest.mark.parametrize("machine", [".conda"], indirect=True)
@pytest.mark.parametrize("is_gone", [True, False])
def test_without_the_converted_file_what_the_channel_serves_is_linked(machine: Wiring, is_gone: bool) -> None:
    lock = locked(machine)
    for package in lock.packages:
        if package.converted:
            path = archive_path(package.converted, machine.folders.archives)
            path.unlink() if is_gone else damage(path)
    prefix = machine.hydrator.hydrate(lock)
    assert (prefix.path / "lib/python3.11/site-packages/six.py").is_file()


@pytest.mark.parametrize("machine", [".conda", ".tar.bz2"], indirect=True)
def test_converting_twice_gives_the_same_bytes(machine: Wiring, tmp_path: Path) -> None:
    lock = locked(machine)
    again = converted(
        replace(lock, packages=tuple(replace(package, converted=None) for package in lock.packages)),
        machine.settings.preferred_format,
        machine.folders.archives,
        fetch=machine.installer.fetch,
        tell=print,
    )
    assert again == lock


def test_what_cannot_be_converted_stays_as_it_is_and_is_told(tmp_path: Path) -> None:
    package = FakePackage("a")
    served = replace(package.locked, artifact=replace(package.artifact, file_name="a-1.0-0.tar.bz2"))
    lock = replace(fake_lock(package), packages=(served,))
    path = archive_path(served.artifact, tmp_path)
    path.parent.mkdir()
    path.write_bytes(b"no archive")
    told: list[str] = []
    assert converted(lock, ".conda", tmp_path, fetch=lambda _: None, tell=told.append) == lock
    assert len(told) == 1
    assert told[0].startswith("a-1.0-0.tar.bz2 stays in its format: it cannot be converted (")
    assert sorted(path.name for path in tmp_path.iterdir()) == [served.artifact.sha256]


def test_ids_of_locks_without_converted_files_are_what_they_were() -> None:
    lock = fake_lock(FakePackage("a"), platform=Platform.LINUX_64)
    assert b"converted" not in lock_json.dump(lock)
    other = replace(lock.packages[0].artifact, file_name="a-1.0-0.tar.bz2", sha256="ab" * 32)
    assert replace(lock, packages=(replace(lock.packages[0], converted=other),)).id != lock.id
