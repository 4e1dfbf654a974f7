"""Environments of the existing product are locked by what their files are: each is checked, or had elsewhere."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from mfenv.app.legacy import LegacyImport
from mfenv.domain.artifact import Artifact, LockedArtifact
from mfenv.domain.digest import RequestKey
from mfenv.domain.locked import LockedEnvironment, LockedPypiPackage
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.provenance import Provenance
from mfenv.domain.resolved import CondaRecord, ResolvedPackage
from mfenv.errors import HydrationFailed, InvalidSpec, LockError, StoreError
from mfenv.formats import provenance_json
from mfenv.formats.package_file import place_of
from mfenv.hydrate.plan import archive_path
from mfenv.io.files import sha256_of
from mfenv.store.backends.local import LocalBlobStore
from mfenv.store.backends.memory import MemoryBlobStore
from mfenv.store.legacy import LegacyStore
from mfenv.store.locks import LockStore
from mfenv.testing.legacy import FULL, REQUEST, LegacyRoot
from mfenv.testing.wheels import MadeWheel

LINUX, ARM = Platform.LINUX_64, Platform.LINUX_AARCH64
CHANNEL = "https://channel.example.org/team"
FILES = "https://files.example.org"
WHEEL = "made-1.0-py3-none-any.whl"


@dataclass
class Taking:
    """An import with what it asks of the outside world: files by their URL, and what packages say of themselves."""

    folder: Path
    root: LegacyRoot
    own: MemoryBlobStore = field(default_factory=MemoryBlobStore)
    served: dict[str, bytes] = field(default_factory=dict)
    asked: list[Artifact] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    @property
    def archives(self) -> Path:
        return self.folder / "archives"

    @property
    def locks(self) -> LockStore:
        return LockStore(self.own)

    def __call__(self, name: str = "team/env", *platforms: Platform) -> dict[Platform, LockedEnvironment] | None:
        taking = LegacyImport(
            legacy=LegacyStore(LocalBlobStore(self.root.folder)),
            archives=self.archives,
            measure=self.measure,
            records=self.records,
            locks=self.locks,
            target=baseline,
            now=lambda: datetime(2026, 1, 2, tzinfo=timezone.utc),
            tell=self.told.append,
        )
        return taking.take(name, platforms)

    def one(self) -> LockedEnvironment:
        found = self("team/env", LINUX)
        assert found is not None
        return found[LINUX]

    def measure(self, artifacts: Sequence[Artifact]) -> list[LockedArtifact]:
        self.asked += artifacts
        return [self._measured(artifact) for artifact in artifacts]

    def _measured(self, wanted: Artifact) -> LockedArtifact:
        content = self.served.get(wanted.url)
        if content is None:
            raise HydrationFailed(f"the package file `{wanted.file_name}` cannot be downloaded", output="404\nmore")
        found = {kind: hashlib.new(kind, content).hexdigest() for kind in ("md5", "sha256")}
        kind = "sha256" if wanted.sha256 else "md5"
        if (expected := getattr(wanted, kind)) not in {None, found[kind]}:
            raise HydrationFailed(f"the package file `{wanted.file_name}` is refused: its {kind} is not {expected}")
        made = LockedArtifact(
            file_name=wanted.file_name, url=wanted.url, size=len(content), sha256=str(found["sha256"])
        )
        archive_path(made, self.archives).parent.mkdir(parents=True, exist_ok=True)
        archive_path(made, self.archives).write_bytes(content)
        return made

    def records(self, artifacts: Sequence[Artifact], *, shown: str) -> tuple[ResolvedPackage, ...]:
        """Read packages whose names tell everything, and put them in the order of their names."""
        return tuple(
            ResolvedPackage(record=self._record(artifact), artifact=artifact)
            for artifact in sorted(artifacts, key=lambda artifact: artifact.file_name)
        )

    def _record(self, artifact: Artifact) -> CondaRecord:
        assert artifact.sha256 is not None
        assert sha256_of(self.archives / artifact.sha256 / artifact.file_name) == artifact.sha256
        name, version, rest = artifact.file_name.split("-")
        channel, subdir = place_of(artifact.url)
        build = rest.partition(".")[0]
        return CondaRecord(
            name=name, version=version, build=build, build_number=0, subdir=subdir or "noarch", channel=channel
        )

    def file(self, name: str, content: str = "") -> Path:
        path = self.folder / name
        path.write_text(content or f"the content of {name}")
        return path


@pytest.fixture
def taking(tmp_path: Path) -> Taking:
    made = Taking(folder=tmp_path, root=LegacyRoot(tmp_path / "legacy"))
    (tmp_path / "legacy").mkdir()
    return made


def shown(lock: LockedEnvironment) -> list[tuple[str, str, str]]:
    """Return name, address and content's sha256 of all files."""
    return [(one.file_name, one.url, one.sha256) for one in lock.artifacts]


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_everything_is_locked_by_its_sha256_and_noted_by_whom_it_was_resolved(taking: Taking, tmp_path: Path) -> None:
    b = taking.file("b-1.0-0.conda")
    taking.root.add(b, f"https://me:secret@channel.example.org/team/linux-64/{b.name}")
    a = taking.file("a-2.0-h1.tar.bz2")
    taking.root.add(a, f"{CHANNEL}/noarch/{a.name}", is_stored=False)
    taking.served[f"{CHANNEL}/noarch/{a.name}"] = a.read_bytes()
    wheel = MadeWheel(name="made").write(tmp_path)
    taking.root.add(wheel, f"{FILES}/{WHEEL}")
    taking.root.write("linux-64", "team/env/latest")

    lock = taking.one()
    assert [(package.record.name, package.record.subdir, package.record.channel) for package in lock.packages] == [
        ("a", "noarch", CHANNEL),
        ("b", "linux-64", CHANNEL),
    ]
    assert shown(lock) == [
        (a.name, f"{CHANNEL}/noarch/{a.name}", sha256_of(a)),
        (b.name, f"{CHANNEL}/linux-64/{b.name}", sha256_of(b)),
        (WHEEL, f"{FILES}/{WHEEL}", sha256_of(wheel)),
    ]
    assert all(sha256_of(archive_path(one, taking.archives)) == one.sha256 for one in lock.artifacts)
    assert [found.file_name for found in taking.asked] == [a.name]
    assert taking.asked[0].md5 == hashlib.md5(a.read_bytes()).hexdigest()
    assert taking.locks.get(lock.id) == lock
    [note] = [info.key for info in taking.own.list(f"mfenv/v1/provenance/{lock.id}/")]
    assert provenance_json.load(taking.own.get(note) or b"", path=note) == Provenance(
        request=RequestKey(REQUEST),
        target=baseline(LINUX),
        resolver="existing product",
        user="grace",
        time=datetime(2024, 1, 2, 3, 4, 5, 678000, tzinfo=timezone.utc),
    )
    assert taking.told == []


def test_all_platforms_are_taken_and_stay_together(taking: Taking) -> None:
    for arch in ("linux-64", "linux-aarch64", "osx-32"):
        name = taking.file("a-1.0-0.conda", arch)
        taking.root.packages.clear()
        taking.root.add(name, f"{CHANNEL}/{arch}/{name.name}")
        taking.root.write(arch, "team/env/latest")
    found = taking()
    assert found is not None
    assert set(found) == {LINUX, ARM}
    assert taking.locks.sibling(found[LINUX].id, ARM) == found[ARM].id
    with pytest.raises(InvalidSpec, match="has no environment `team/env` for osx-64") as caught:
        taking("team/env", Platform.OSX_64, LINUX)
    assert caught.value.hint == "It has one for linux-64, linux-aarch64"


def test_a_wheel_that_was_built_comes_from_the_store_and_says_what_it_was_built_from(
    taking: Taking, tmp_path: Path
) -> None:
    wheel = MadeWheel(name="made").write(tmp_path)
    url = f"https://_fake/github.com/team/made/1234/{WHEEL}"
    place = taking.root.add(wheel, url)
    taking.root.write("linux-64", "team/env/latest")
    artifact = LockedArtifact(file_name=WHEEL, url=place.as_uri(), size=wheel.stat().st_size, sha256=sha256_of(wheel))
    expected = LockedPypiPackage(name="made", version="1.0", artifact=artifact, built_from=url)
    assert taking.one().pypi == (expected,)
    assert Path(unquote(urlsplit(artifact.url).path)) == place
    place.unlink()
    with pytest.raises(StoreError, match=r"`made-1.0-py3-none-any.whl` cannot be taken over: nothing is at `file:"):
        taking.one()
    assert taking.asked == []


def test_a_source_is_taken_as_the_wheel_that_was_built_from_it_or_refused_before_anything_is_fetched(
    taking: Taking, tmp_path: Path
) -> None:
    source = taking.file("made-1.0.tar.gz")
    taking.root.add(source, f"{FILES}/{source.name}")
    taking.root.write("linux-64", "team/env/latest")
    with pytest.raises(LockError, match=r"^`team/env` for linux-64: `made-1.0.tar.gz` is a source, and the store has"):
        taking.one()
    assert not taking.archives.exists()
    wheel = MadeWheel(name="made").write(tmp_path)
    place = taking.root.add_converted(wheel)
    taking.root.write("linux-64")
    [found] = taking.one().pypi
    assert (found.artifact.file_name, found.artifact.url, found.built_from) == (
        WHEEL,
        place.as_uri(),
        f"{FILES}/{source.name}",
    )


def test_of_two_formats_that_are_stored_the_one_is_taken_that_the_channel_serves(taking: Taking) -> None:
    old, new = taking.file("a-1.0-0.tar.bz2"), taking.file("a-1.0-0.conda")
    url = f"{CHANNEL}/linux-64/{old.name}"
    taking.root.add(old, url)
    taking.root.add_converted(new)
    taking.root.write("linux-64", "team/env/latest")
    assert shown(taking.one()) == [(old.name, url, sha256_of(old))]


def test_a_package_that_is_stored_in_another_format_alone_is_taken_in_that_from_where_it_is(taking: Taking) -> None:
    """Its channel serves other bytes: at that address nobody would find it."""
    old, new = taking.file("a-1.0-0.tar.bz2"), taking.file("a-1.0-0.conda")
    taking.root.add(old, f"{CHANNEL}/linux-64/{old.name}", is_stored=False)
    place = taking.root.add_converted(new)
    taking.root.write("linux-64", "team/env/latest")
    lock = taking.one()
    assert shown(lock) == [(new.name, place.as_uri(), sha256_of(new))]
    assert (lock.packages[0].record.channel, lock.packages[0].record.subdir) == (CHANNEL, "linux-64")
    assert taking.asked == []


def test_what_the_store_has_in_any_format_comes_before_its_origin(taking: Taking) -> None:
    old, new = taking.file("a-1.0-0.tar.bz2"), taking.file("a-1.0-0.conda")
    url = f"{CHANNEL}/linux-64/{old.name}"
    gone = taking.root.add(old, url)
    taking.root.add_converted(new)
    taking.root.write("linux-64", "team/env/latest")
    gone.unlink()
    taking.served[url] = old.read_bytes()
    assert [one.file_name for one in taking.one().artifacts] == [new.name]
    assert taking.asked == []


def test_what_was_stored_later_is_found_where_it_must_be(taking: Taking) -> None:
    a = taking.file("a-1.0-0.conda")
    taking.root.add(a, f"{CHANNEL}/linux-64/{a.name}", is_noted=False)
    taking.root.write("linux-64", "team/env/latest")
    assert shown(taking.one()) == [(a.name, f"{CHANNEL}/linux-64/{a.name}", sha256_of(a))]
    assert taking.asked == []


def test_without_a_digest_a_file_is_locked_as_it_is_today(taking: Taking) -> None:
    a = taking.file("a-1.0-0.conda")
    url = f"{CHANNEL}/linux-64/{a.name}"
    taking.root.add(a, url, is_stored=False, digest=None)
    taking.root.write("linux-64", "team/env/latest")
    taking.served[url] = b"whatever is served"
    assert shown(taking.one()) == [(a.name, url, sha256("whatever is served"))]


def test_a_copy_that_is_not_what_was_noted_is_said_and_had_from_its_origin(taking: Taking) -> None:
    a = taking.file("a-1.0-0.conda")
    url = f"{CHANNEL}/linux-64/{a.name}"
    place = taking.root.add(a, url)
    taking.root.write("linux-64", "team/env/latest")
    place.write_text("tampered")
    taking.served[url] = a.read_bytes()
    assert shown(taking.one()) == [(a.name, url, sha256_of(a))]
    [line] = taking.told
    md5 = hashlib.md5(b"tampered").hexdigest()
    assert line == (
        f"`team/env` for linux-64: `{place.as_uri()}` is not what it should be: its md5 is {md5} where "
        f"{hashlib.md5(a.read_bytes()).hexdigest()} was noted. The package was had in another way."
    )
    taking.served[url] = b"changed as well"
    with pytest.raises(StoreError) as caught:
        taking.one()
    assert caught.value.message == (
        f"`team/env` for linux-64: the package file `{a.name}` cannot be taken over: `{place.as_uri()}` is not what it "
        f"should be: its md5 is {md5} where {hashlib.md5(a.read_bytes()).hexdigest()} was noted; the package file "
        f"`{a.name}` is refused: its md5 is not {hashlib.md5(a.read_bytes()).hexdigest()}"
    )
    assert not (taking.archives / sha256("tampered")).exists()
    assert not list(taking.archives.glob(".legacy-*"))


def test_a_file_that_is_nowhere_is_said_with_where_it_should_be(taking: Taking) -> None:
    a = taking.file("a-1.0-0.conda")
    place = taking.root.add(a, f"{CHANNEL}/linux-64/{a.name}")
    taking.root.write("linux-64", "team/env/latest")
    place.unlink()
    with pytest.raises(StoreError) as caught:
        taking.one()
    assert caught.value.message == (
        f"`team/env` for linux-64: the package file `{a.name}` cannot be taken over: nothing is at `{place.as_uri()}`; "
        f"the package file `{a.name}` cannot be downloaded (404)"
    )
    assert list(taking.own.list("mfenv/v1/locks/")) == []


def test_of_two_digests_both_have_to_fit(taking: Taking, tmp_path: Path) -> None:
    """What a lock file said is kept beside what came, which nobody compared."""
    wheel = MadeWheel(name="made").write(tmp_path)
    place = taking.root.add(wheel, f"{FILES}/{WHEEL}")
    taking.root.packages[0]["hashes"]["sha256"] = sha256("what was locked")
    taking.root.write("linux-64", "team/env/latest")
    taking.served[f"{FILES}/{WHEEL}"] = wheel.read_bytes()
    with pytest.raises(StoreError, match=f"{sha256('what was locked')} was noted; `{FILES}/{WHEEL}` is not what"):
        taking.one()
    del taking.root.packages[0]["hashes"][".whl"]
    taking.root.packages[0]["hashes"]["sha256"] = sha256_of(wheel)
    taking.root.write("linux-64")
    assert shown(taking.one()) == [(WHEEL, f"{FILES}/{WHEEL}", sha256_of(place))]


def test_nothing_outside_of_the_root_is_read(taking: Taking, tmp_path: Path) -> None:
    a = taking.file("a-1.0-0.conda")
    taking.root.add(a, f"{CHANNEL}/linux-64/{a.name}")
    taking.root.packages[0]["cache_info"][".conda"]["url"] = f"../{a.name}"
    taking.root.write("linux-64", "team/env/latest")
    with pytest.raises(LockError, match=r"cache_info\.\.conda\.url: `\.\./a-1.0-0.conda` is not the place of a file"):
        taking.one()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("a-1.0-0.conda", "a-1.0-0.tar.bz2"), "^`team/env` for linux-64: a lock holds `a` twice"),
        (("made.whl",), "^`team/env` for linux-64: `made.whl` is not the name of a wheel"),
    ],
)
def test_what_cannot_be_an_environment_is_refused(taking: Taking, names: tuple[str, ...], message: str) -> None:
    for name in names:
        taking.root.add(taking.file(name), f"{CHANNEL}/linux-64/{name}")
    taking.root.write("linux-64", "team/env/latest")
    with pytest.raises(LockError, match=message):
        taking.one()


def test_packages_for_another_platform_are_refused(taking: Taking) -> None:
    taking.root.add(taking.file("a-1.0-0.conda"), f"{CHANNEL}/osx-64/a-1.0-0.conda")
    taking.root.write("linux-64", "team/env/latest")
    with pytest.raises(LockError, match=r"^`team/env` for linux-64: a lock for linux-64 holds `a-1.0-0.conda`, which"):
        taking.one()


def test_a_name_that_is_not_there_is_none_and_ids_say_what_is_missing(taking: Taking) -> None:
    assert taking("team/nothing") is None
    with pytest.raises(InvalidSpec, match="for any platform"):
        taking(f"{REQUEST}:{FULL}")


def test_a_damaged_environment_is_refused(taking: Taking) -> None:
    taking.root.write("linux-64", "team/env/latest").write_text(json.dumps({"packages": [1]}))
    with pytest.raises(LockError, match=rf"^envs/linux-64/{REQUEST}/{FULL}/env\.packages\[0\]: expected an object"):
        taking.one()


def test_taking_over_twice_makes_the_same_lock(taking: Taking) -> None:
    taking.root.add(taking.file("a-1.0-0.conda"), f"{CHANNEL}/linux-64/a-1.0-0.conda")
    taking.root.write("linux-64", "team/env/latest")
    assert taking.one() == taking.one()
    assert len(list(taking.own.list("mfenv/v1/provenance/"))) == 1
