"""What a package says of itself must not lead out of the prefix."""

from __future__ import annotations

import json

import pytest

from mfenv.errors import HydrationFailed
from mfenv.hydrate.checks import check_package

EXPECTED = ("numpy", "1.26.4", "py311_0")
INDEX = json.dumps({"name": "numpy", "version": "1.26.4", "build": "py311_0"}).encode()


def _paths(*paths: object) -> bytes:
    return json.dumps({"paths": [{"_path": path} for path in paths]}).encode()


def _link(*entry_points: object) -> bytes:
    return json.dumps({"noarch": {"type": "python", "entry_points": entry_points}}).encode()


def check(**members: bytes | None) -> None:
    names = {"index": "info/index.json", "paths": "info/paths.json", "files": "info/files", "link": "info/link.json"}
    check_package(
        "numpy-1.26.4-py311_0.conda",
        EXPECTED,
        {"info/index.json": INDEX, **{names[key]: content for key, content in members.items()}},
    )


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"paths": None, "files": None, "link": None},
        {"paths": _paths("lib/a.so", "bin/numpy", "share/..data/x", "a/...", ".hidden", "lib/conda-meta/x")},
        {"paths": b"{}"},
        {"paths": b'{"paths": null}'},
        {"files": b"lib/a.so\nbin/b\n"},
        {"link": b"{}"},
        {"link": b'{"noarch": null}'},
        {"link": _link("f2py = numpy.f2py:main", "a=b:c")},
        {"index": json.dumps({"name": "NumPy", "version": "1.26.4", "build": "py311_0"}).encode()},
    ],
)
def test_an_ordinary_package_passes(members: dict[str, bytes | None]) -> None:
    check(**members)


_BAD_PATHS = [
    ("/etc/passwd", "leads out of the environment"),
    ("../x", "leads out of the environment"),
    ("lib/../../x", "leads out of the environment"),
    ("lib/..", "leads out of the environment"),
    ("..", "leads out of the environment"),
    (".", "leads out of the environment"),
    ("./x", "leads out of the environment"),
    ("..\\x", "leads out of the environment"),
    ("a\\b", "leads out of the environment"),
    ("conda-meta/history", "belongs to the description of the environment"),
    ("conda-meta", "belongs to the description of the environment"),
    (".mfenv-ready", "belongs to the description of the environment"),
]


@pytest.mark.parametrize(("path", "reason"), _BAD_PATHS)
@pytest.mark.parametrize("member", ["paths", "files"])
def test_a_path_that_leads_outside_is_refused_by_name_in_either_list(member: str, path: str, reason: str) -> None:
    content = _paths("lib/good", path) if member == "paths" else f"lib/good\n{path}\n".encode()
    with pytest.raises(HydrationFailed) as caught:
        check(**{member: content})
    assert caught.value.message == f"the package `numpy-1.26.4-py311_0.conda` is refused: its path `{path}` {reason}"
    assert caught.value.hint is not None
    assert caught.value.hint.startswith("Nothing of it was installed")


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_an_empty_path_or_one_with_a_zero_is_refused(path: str) -> None:
    with pytest.raises(HydrationFailed, match="leads out of the environment"):
        check(paths=_paths(path))


@pytest.mark.parametrize(
    "entry_point",
    ["../../escape = a:b", "/usr/bin/x = a:b", "a/b=c:d", " = a:b", "", ".. = a:b", "a\\b=c:d", 5.0, None],
)
def test_an_entry_point_that_is_a_path_is_refused(entry_point: object) -> None:
    entry_points = (entry_point,) if entry_point not in (5.0, None) else (f"x/{entry_point}",)
    with pytest.raises(HydrationFailed) as caught:
        check(link=_link("good = a:b", *entry_points))
    assert caught.value.message == (
        f"the package `numpy-1.26.4-py311_0.conda` is refused: "
        f"its entry point `{entry_points[0]}` has a path for a name"
    )


@pytest.mark.parametrize(
    ("member", "content", "name"),
    [
        ("index", None, "info/index.json"),
        ("index", b"", "info/index.json"),
        ("index", b"[]", "info/index.json"),
        ("index", b"\xff", "info/index.json"),
        ("index", b"[" * 100_000, "info/index.json"),
        ("paths", b"{", "info/paths.json"),
        ("paths", b"[]", "info/paths.json"),
        ("paths", b'{"paths": 5}', "info/paths.json"),
        ("paths", b'{"paths": {"a": 1}}', "info/paths.json"),
        ("link", b"{", "info/link.json"),
        ("link", b'{"noarch": "python"}', "info/link.json"),
        ("link", b'{"noarch": {"entry_points": "x"}}', "info/link.json"),
        ("link", b'{"noarch": {"entry_points": 5}}', "info/link.json"),
    ],
)
def test_what_cannot_be_read_is_refused(member: str, content: bytes | None, name: str) -> None:
    with pytest.raises(HydrationFailed) as caught:
        check(**{member: content})
    assert caught.value.message == (f"the package `numpy-1.26.4-py311_0.conda` is refused: its `{name}` cannot be read")


@pytest.mark.parametrize("entry", [b'{"paths": ["lib/x"]}', b'{"paths": [{"path": "lib/x"}]}', b'{"paths": [null]}'])
def test_an_entry_without_a_path_is_refused(entry: bytes) -> None:
    with pytest.raises(HydrationFailed, match="its path `` leads out"):
        check(paths=entry)


@pytest.mark.parametrize(
    ("index", "found"),
    [
        ({"name": "evil", "version": "1.26.4", "build": "py311_0"}, "evil-1.26.4-py311_0"),
        ({"name": "numpy", "version": "6.6.6", "build": "py311_0"}, "numpy-6.6.6-py311_0"),
        ({"name": "numpy", "version": "1.26.4", "build": "x"}, "numpy-1.26.4-x"),
        ({}, "None-None-None"),
    ],
)
def test_a_package_that_is_not_what_it_is_called_is_refused(index: dict[str, str], found: str) -> None:
    with pytest.raises(HydrationFailed) as caught:
        check(index=json.dumps(index).encode())
    assert caught.value.message == f"the package `numpy-1.26.4-py311_0.conda` is refused: it holds `{found}`"
