"""A code package is unpacked into its folder and nowhere else, whatever is in it."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.reference import ByPathspec
from mfenv.errors import EnvironmentsError, HydrationFailed, InvalidSpec, StoreError
from mfenv.metaflow import past_code
from mfenv.metaflow.past_code import PastCode, unpack_code

REF = ByPathspec(flow="Flow", run="1", step="start")


def package(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for info, content in members:
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def file(name: str, content: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for field, value in fields.items():
        setattr(info, field, value)
    return info, content


INFO = file(".mf_meta/INFO", b'{"script": "flow.py"}')
NOTED = json.dumps({"ds_type": "local", "sha": "ab", "location": "/x", "metadata": '{"mfcontent_version": 1}'})


def unpacked(content: bytes | None, folder: Path, *, noted: str | None = NOTED, in_run: str | None = None) -> PastCode:
    """Unpack what the store has, for a task that noted `noted`, in a run of which another task noted `in_run`."""
    task = SimpleNamespace(
        path_components=["Flow", "1", "start", "2"], pathspec="Flow/1/start/2", metadata_dict={"code-package": noted}
    )
    other = SimpleNamespace(metadata_dict={"code-package": in_run})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(past_code, "task_of", lambda ref, where: task)
        patch.setattr(past_code, "FileCache", lambda: SimpleNamespace(get_data=lambda *_: (None, content)))
        patch.setattr(past_code, "Run", lambda *_, **__: [[], [other]])
        return unpack_code(REF, folder, strict=True, where="ENV")


FLOW = file("flow.py", b"pass\n", mode=0o755)


def test_a_package_is_unpacked_and_tells_how_it_is_used(tmp_path: Path) -> None:
    folder = tmp_path / "new"
    code = unpacked(
        package(file(".mf_code/metaflow/__init__.py"), file("sub", type=tarfile.DIRTYPE), INFO, FLOW), folder
    )
    assert code == PastCode(
        folder=folder,
        flow_file=folder / "flow.py",
        python_path=(folder / ".mf_code", folder),
        variables={"METAFLOW_EXTRACTED_ROOT": str(folder)},
        files=(".mf_code/metaflow/__init__.py", ".mf_meta/INFO", "flow.py"),
        is_package=True,
    )
    assert (folder / "flow.py").read_bytes() == b"pass\n"
    assert (folder / "flow.py").stat().st_mode & 0o777 == 0o755
    assert (folder / "sub").is_dir()


def test_the_layout_of_old_packages_has_metaflow_beside_the_flow(tmp_path: Path) -> None:
    code = unpacked(
        package(file("metaflow/__init__.py"), file("INFO", b'{"script": "flow.py"}'), FLOW),
        tmp_path,
        noted='{"ds_type": "local", "sha": "ab", "location": "/x"}',
    )
    assert code.python_path == (tmp_path,)


OUTSIDE = [
    (file("../out.py"), "`'../out.py'`, which lies outside of it"),
    (file("a/../../out.py"), "`'a/../../out.py'`, which lies outside of it"),
    (file("/tmp/out.py"), "`'/tmp/out.py'`, which lies outside of it"),
    (file("a\\..\\out.py"), r"`'a\\..\\out.py'`, which lies outside of it"),
    (file("link", type=tarfile.SYMTYPE, linkname="/etc"), "`link`, which is neither a file nor a folder"),
    (file("link", type=tarfile.LNKTYPE, linkname="flow.py"), "`link`, which is neither a file nor a folder"),
    (file("pipe", type=tarfile.FIFOTYPE), "`pipe`, which is neither a file nor a folder"),
    (file("device", type=tarfile.CHRTYPE), "`device`, which is neither a file nor a folder"),
]


@pytest.mark.parametrize(("member", "words"), OUTSIDE)
def test_what_would_land_elsewhere_is_refused_before_anything_is_written(
    tmp_path: Path, member: tuple[tarfile.TarInfo, bytes], words: str
) -> None:
    folder = tmp_path / "code"
    with pytest.raises(StoreError) as caught:
        unpacked(package(INFO, FLOW, member), folder)
    assert caught.value.message == f"ENV: the code package holds {words}"
    assert [path.name for path in tmp_path.rglob("*")] == ["code"]


def test_a_script_outside_of_the_package_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="lies outside of it"):
        unpacked(package(file(".mf_meta/INFO", b'{"script": "../flow.py"}'), FLOW), tmp_path)


@pytest.mark.parametrize(
    "members",
    [
        (INFO, file("other.py")),
        (FLOW,),
        (file(".mf_meta/INFO", b"{"), FLOW),
        (file(".mf_meta/INFO", b"[]"), FLOW),
        (file(".mf_meta/INFO", type=tarfile.DIRTYPE), FLOW),
    ],
)
def test_a_package_that_does_not_lead_to_its_flow_is_damaged(
    tmp_path: Path, members: tuple[tuple[tarfile.TarInfo, bytes], ...]
) -> None:
    with pytest.raises(StoreError, match=r"^ENV: the code package of `Flow/1/start` is damaged$"):
        unpacked(package(*members), tmp_path)


def test_a_link_that_lies_in_the_folder_is_replaced_and_not_followed(tmp_path: Path) -> None:
    folder, other = tmp_path / "code", tmp_path / "other"
    folder.mkdir()
    other.write_text("mine")
    (folder / "flow.py").symlink_to(other)
    unpacked(package(INFO, FLOW), folder)
    assert (other.read_text(), (folder / "flow.py").read_bytes()) == ("mine", b"pass\n")


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(HydrationFailed) as caught:
        unpacked(package(INFO, FLOW), tmp_path / "file" / "code")
    assert caught.value.message == f"ENV: code cannot be put into `{tmp_path / 'file' / 'code'}`"


WHOLE = package(
    file(".mf_code/metaflow/__init__.py", b"x" * 2000), FLOW, file("data/table.csv", bytes(range(256)) * 20)
)


@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=40), st.booleans())
def test_a_damaged_package_gives_an_error_of_ours_or_the_files(
    tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes, cut: bool
) -> None:
    blob = WHOLE[:at] + junk + (b"" if cut else WHOLE[at + len(junk) :])
    folder = tmp_path_factory.mktemp("code")
    try:
        code = unpacked(blob, folder)
    except EnvironmentsError:
        return
    assert code.flow_file.is_file()


def test_a_run_without_a_package_is_refused_when_only_that_will_do(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpec) as caught:
        unpacked(None, tmp_path, noted=None)
    assert caught.value.message == "ENV: the run `Flow/1` kept no code package"


def test_a_package_that_only_another_task_noted_is_that_of_the_run(tmp_path: Path) -> None:
    assert unpacked(package(INFO, FLOW), tmp_path, noted=None, in_run=NOTED).files == (".mf_meta/INFO", "flow.py")


@pytest.mark.parametrize("noted", ["{", "[]", "1", "{}", '{"ds_type": "local"}', NOTED.replace(": 1}", ": {}}")])
def test_a_note_that_cannot_be_read_is_an_error_of_the_store(tmp_path: Path, noted: str) -> None:
    with pytest.raises(StoreError, match=r"^ENV: the code package of `Flow/1/start/2` cannot be read$"):
        unpacked(package(INFO, FLOW), tmp_path, noted=noted)
