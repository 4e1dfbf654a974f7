from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mfenv.testing.channel import interpreters
from mfenv.testing.channel.build import NoInterpreterError, choose_interpreters
from mfenv.testing.channel.cpython import forget_prefix, undo_debian
from mfenv.testing.channel.interpreters import Interpreter, choose_few, probe
from mfenv.testing.channel.native import conda_name, group_libraries


def interpreter(version: str) -> Interpreter:
    nowhere = Path("/nowhere")
    return Interpreter(
        version=version,
        executable=nowhere,
        prefix=nowhere,
        stdlib=nowhere,
        platstdlib=nowhere,
        include=nowhere,
        libpython=None,
        library_versions={},
    )


def test_the_running_interpreter_is_found_behind_its_virtual_environment() -> None:
    found = probe(Path(sys.executable))
    assert found is not None
    assert found.prefix == Path(sys.base_prefix)
    assert (found.stdlib / "os.py").is_file()


def test_versions_beside_the_running_one_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A version manager need not be in the home folder."""
    other = tmp_path / "versions" / "other" / "bin" / "python3.11"
    other.parent.mkdir(parents=True)
    other.symlink_to(sys.executable)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path / "versions" / "running"))
    assert other in set(interpreters._candidates())


def test_a_program_that_is_no_python_is_no_interpreter() -> None:
    assert probe(Path("/bin/sh")) is None


def test_few_are_the_running_one_and_its_neighbours() -> None:
    found = [interpreter(version) for version in ("3.13.0", "3.8.1", "3.10.2", "3.11.7", "3.12.1")]
    assert [each.version for each in choose_few(found, "3.11")] == ["3.10.2", "3.11.7", "3.12.1"]
    assert [each.version for each in choose_few(found, "3.8")] == ["3.8.1", "3.10.2"]


def test_a_python_that_is_not_there_is_named() -> None:
    with pytest.raises(NoInterpreterError, match=r"no CPython 3\.1 on this machine"):
        choose_interpreters(["3.1"])


def test_a_compiled_in_prefix_is_forgotten_at_the_same_length() -> None:
    prefix = "/home/someone/versions/3.12.1"
    content = b"\x00" + prefix.encode() + b"/lib\x003.12.1\x00"
    changed = forget_prefix(content, prefix)
    assert len(changed) == len(content)
    assert b"/home/someone" not in changed
    assert changed.endswith(b"/3.12.1/lib\x003.12.1\x00")


def test_a_short_prefix_stays() -> None:
    assert forget_prefix(b"/usr/local/lib", "/usr/local") == b"/usr/local/lib"


def test_libraries_get_condas_names(tmp_path: Path) -> None:
    names = ("libssl.so.3", "libcrypto.so.3", "libz.so.1", "libstrange.so.2")
    files = {name: tmp_path / f"{name}.4.5" for name in names}
    grouped = group_libraries(files, {"openssl": "3.0.15"})
    assert [(each.name, each.version) for each in grouped] == [
        ("libstrange", "2.4.5"),
        ("libzlib", "1.4.5"),
        ("openssl", "3.0.15"),
    ]
    assert conda_name("libtinfow.so.6")[0] == "ncurses"


def test_debians_own_folders_are_undone(tmp_path: Path) -> None:
    (tmp_path / "site.py").write_text('path = os.path.join(prefix, "lib/python3", "dist-packages")\n')
    (tmp_path / "sysconfig.py").write_text("    prefix_scheme = 'posix_local'\n")
    undo_debian(tmp_path)
    assert (tmp_path / "sysconfig.py").read_text() == "    prefix_scheme = 'posix_prefix'\n"
    assert '"site-packages"' in (tmp_path / "sitecustomize.py").read_text()


def test_a_plain_library_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "site.py").write_text('path = os.path.join(prefix, "lib/python3", "site-packages")\n')
    undo_debian(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["site.py"]
