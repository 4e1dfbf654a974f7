"""Archives that a node unpacks: the toolchain, and compiled modules; whatever is in them, nothing gets outside."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mfenv.bootstrap import bytecode, toolchain
from mfenv.bootstrap.failure import BootstrapError
from mfenv.bootstrap.flow_file import File
from mfenv.bootstrap.objects import Objects, open_objects

# The interpreters that need it know no filters; newer ones want to be told one.
pytestmark = pytest.mark.filterwarnings("ignore:Python 3.14 will:DeprecationWarning")


def member(name: str, *, link: str = "", kind: bytes = tarfile.REGTYPE, mode: int = 0o644) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    found.type, found.linkname, found.mode = kind, link, mode
    return found


def tar(*members: tarfile.TarInfo, content: bytes = b"x") -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for one in members:
            one.size = len(content) if one.isreg() else 0
            archive.addfile(one, io.BytesIO(content))
    return packed.getvalue()


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---------------------------------------------------------------- the toolchain

Unpack = Callable[[bytes], str]


@pytest.fixture
def unpack(tmp_path: Path) -> Unpack:
    """Unpacks the content of a runtime, and returns its interpreter."""

    def unpack(content: bytes) -> str:
        (tmp_path / "archive").write_bytes(content)
        file = File("python.tar.gz", "key", hashlib.sha256(content).hexdigest(), None)
        return toolchain.unpack_runtime(file, lambda _file: str(tmp_path / "archive"), str(tmp_path / "root"))

    return unpack


def test_a_runtime_is_unpacked_once_with_its_links(unpack: Unpack) -> None:
    content = tar(
        member("bin/python3", mode=0o755),
        member("bin/python", link="python3", kind=tarfile.SYMTYPE),
        member("lib/a.so", link="../bin/python3", kind=tarfile.SYMTYPE),
        member("lib/b.so", link="bin/python3", kind=tarfile.LNKTYPE, mode=0o755),
    )
    python = Path(unpack(content))
    folder = python.parent.parent
    assert tree(folder) == dict.fromkeys(["bin/python3", "bin/python", "lib/a.so", "lib/b.so"], b"x")
    assert os.access(python, os.X_OK)
    (folder / "kept").touch()
    assert unpack(content) == str(python)
    assert (folder / "kept").exists()


@pytest.mark.parametrize(
    "members",
    [
        [member("../evil")],
        [member("a/../../evil")],
        [member("/evil")],
        [member("a/..", kind=tarfile.DIRTYPE)],
        [member("up", link="..", kind=tarfile.SYMTYPE), member("up/evil")],
        [member("up", link="/", kind=tarfile.SYMTYPE), member("up/evil")],
        [member("evil", link="../../../archive", kind=tarfile.LNKTYPE)],
        # Each for itself stays inside, by its words.
        [
            member("p/q/r", link="../..", kind=tarfile.SYMTYPE),
            member("up", link="p/q/r/../evil", kind=tarfile.SYMTYPE),
        ],
        [member("null", kind=tarfile.CHRTYPE)],
        [member("pipe", kind=tarfile.FIFOTYPE)],
    ],
    ids=lambda members: members[-1].name,
)
def test_a_runtime_that_leaves_its_folder_is_refused(
    members: list[tarfile.TarInfo], unpack: Unpack, tmp_path: Path
) -> None:
    with pytest.raises(BootstrapError) as caught:
        unpack(tar(*members))
    assert caught.value.message.startswith("the Python in the store has a file outside its folder: `")
    assert caught.value.hint == "Launch or deploy the flow again"
    assert [path.name for path in (tmp_path / "root" / "toolchain").iterdir() if path.suffix != ".lock"] == []
    assert not list(tmp_path.rglob("evil"))
    assert (tmp_path / "archive").stat().st_nlink == 1


@pytest.mark.parametrize(
    "harm", [lambda good: b"", lambda good: b"nonsense", lambda good: good[:-20], lambda good: good[:40] + b"\xff" * 40]
)
def test_a_runtime_that_is_no_archive_is_one_error(
    harm: Callable[[bytes], bytes], unpack: Unpack, tmp_path: Path
) -> None:
    good = tar(member("bin/python"), content=os.urandom(100_000))
    with pytest.raises(BootstrapError) as caught:
        unpack(harm(good))
    assert caught.value.message.startswith("the toolchain in the store cannot be unpacked: ")
    assert [path.name for path in (tmp_path / "root" / "toolchain").iterdir() if path.suffix != ".lock"] == []


def wheel(path: Path, names: list[str]) -> File:
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, name)
    return File(path.name, "key", hashlib.sha256(path.read_bytes()).hexdigest(), None)


def test_wheels_are_unpacked_together_inside_their_folder(tmp_path: Path) -> None:
    files = [
        wheel(tmp_path / "a.whl", ["a/__init__.py", "../../evil", "/evil"]),
        wheel(tmp_path / "uv.whl", ["uv-1.data/scripts/uv"]),
    ]
    folder = toolchain.unpack_wheels(files, lambda file: str(tmp_path / file.name), str(tmp_path / "root"))
    assert set(tree(Path(folder))) == {"a/__init__.py", "evil", "uv-1.data/scripts/uv"}
    assert os.access(toolchain.uv_in(folder), os.X_OK)
    assert toolchain.unpack_wheels(files[::-1], lambda _file: "/no/such", str(tmp_path / "root")) == folder


def test_wheels_that_are_none_or_lack_uv_are_told(tmp_path: Path) -> None:
    (tmp_path / "a.whl").write_bytes(b"nonsense")
    with pytest.raises(BootstrapError, match="the toolchain in the store cannot be unpacked: "):
        toolchain.unpack_wheels(
            [File("a.whl", "key", "a" * 64, None)], lambda _file: str(tmp_path / "a.whl"), str(tmp_path)
        )
    with pytest.raises(BootstrapError, match="the toolchain in the store has no uv"):
        toolchain.uv_in(str(tmp_path))


# ---------------------------------------------------------------- compiled modules


@pytest.fixture
def store(tmp_path: Path) -> Objects:
    return open_objects("local", str(tmp_path / "store"), {})


def sealed(archive: bytes) -> bytes:
    return hashlib.sha256(archive).hexdigest().encode() + b"\n" + archive


def test_only_what_bears_its_seal_is_taken(store: Objects) -> None:
    good = sealed(b"archive")
    for number, content in enumerate(
        [b"", b"x" * 64, b"x" * 65, good[:-1], good + b"x", good[65:], b"\xff" + good[1:], b"0" * 64 + good[64:]]
    ):
        store.put(f"bad{number}", content)
        assert bytecode.fetch(store, f"bad{number}") is None
    store.put("good", good)
    assert bytecode.fetch(store, "good") == b"archive"
    assert bytecode.fetch(store, "nothing") is None


def test_only_compiled_modules_are_taken_from_an_archive() -> None:
    archive = tar(
        member("lib/__pycache__/a.pyc"),
        member("lib/python3.12/x/__pycache__/b.pyc"),
        member("lib/x/__pycache__/c.py"),
        member("lib/x/d.pyc"),
        member("bin/__pycache__/e.pyc"),
        member("../lib/__pycache__/f.pyc"),
        member("lib/../../__pycache__/g.pyc"),
        member("/lib/__pycache__/h.pyc"),
        member("lib/__pycache__/..", kind=tarfile.REGTYPE),
        member("lib/__pycache__/i.pyc", link="/etc/passwd", kind=tarfile.SYMTYPE),
        member("lib/__pycache__/j.pyc", link="lib/__pycache__/a.pyc", kind=tarfile.LNKTYPE),
        member("lib/__pycache__", kind=tarfile.DIRTYPE),
    )
    taken = {"lib/__pycache__/a.pyc": b"x", "lib/python3.12/x/__pycache__/b.pyc": b"x"}
    assert bytecode.members(archive) == taken


@settings(deadline=None)
@given(st.binary(max_size=200), st.integers(0, 400))
def test_an_archive_that_is_damaged_is_left_out_from_there_on(noise: bytes, place: int) -> None:
    modules = [member(f"lib/__pycache__/{number}.pyc") for number in range(3)]
    good = tar(*modules)
    found = bytecode.members(good[:place] + noise)
    assert set(found) <= {one.name for one in modules}


def test_modules_are_put_beside_their_sources_and_nowhere_else(tmp_path: Path) -> None:
    prefix, outside = tmp_path / "prefix", tmp_path / "outside"
    (prefix / "lib" / "x").mkdir(parents=True)
    (outside / "__pycache__").mkdir(parents=True)
    (outside / "file").write_bytes(b"theirs")
    (prefix / "lib" / "away").symlink_to(outside)
    (prefix / "lib" / "y" / "__pycache__").mkdir(parents=True)
    (prefix / "lib" / "y" / "__pycache__" / "a.pyc").symlink_to(outside / "file")
    (prefix / "lib" / "z").mkdir()
    (prefix / "lib" / "z" / "__pycache__").symlink_to(outside / "__pycache__")
    names = ["x/__pycache__/a.pyc", "y/__pycache__/a.pyc", "z/__pycache__/a.pyc", "away/__pycache__/a.pyc"]
    bytecode.put({f"lib/{name}": b"new" for name in [*names, "no/such/__pycache__/a.pyc"]}, str(prefix))
    assert tree(outside) == {"file": b"theirs"}
    put = {str(path.relative_to(prefix)) for path in prefix.rglob("*") if path.is_file() and not path.is_symlink()}
    assert put == {"lib/x/__pycache__/a.pyc", "lib/y/__pycache__/a.pyc"}
    assert (prefix / "lib" / "y" / "__pycache__" / "a.pyc").read_bytes() == b"new"
