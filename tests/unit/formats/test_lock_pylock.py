"""pylock.toml (PEP 751), whichever tool wrote it; the saved one comes from uv."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.artifact import Artifact
from mfenv.domain.base import LockFileContent, LockFilePypiPackage
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.resolved import BuildSource
from mfenv.errors import LockError
from mfenv.formats import pylock_toml

SAVED = (Path(__file__).parents[2] / "data" / "lock_files" / "pylock.toml").read_text()
LINUX, MAC = baseline(Platform.LINUX_64), baseline(Platform.OSX_ARM64)
ONE, TWO = "1" * 64, "2" * 64
FOLDER = Path("/srv/project")
URL = "https://files.example.org"


def read(text: str, *, mac: bool = False, **wishes: Any) -> LockFileContent:
    return pylock_toml.read(text, shown="pylock.toml", folder=FOLDER, target=MAC if mac else LINUX, **wishes)


def packages(body: str) -> tuple[LockFilePypiPackage, ...]:
    return read(f'lock-version = "1.0"\n[[packages]]\nname = "a"\n{body}').pypi


def wheel(name: str = "a-1.0-py3-none-any.whl", **facts: Any) -> Artifact:
    return Artifact(file_name=name, url=f"{URL}/{name}", **facts)


def test_reads_what_uv_writes() -> None:
    found = read(SAVED)
    assert found.requires_python == ">=3.10"
    by_name = {package.name: package for package in found.pypi}
    assert {name: (package.version, package.marker) for name, package in by_name.items()} == {
        "colorama": ("0.4.6", ""),
        "exceptiongroup": ("1.3.1", "python_full_version < '3.11'"),
        "idna": ("3.20", ""),
        "markupsafe": ("3.0.2", ""),
        "typing-extensions": ("4.16.0", "python_full_version < '3.11'"),
    }
    assert len(by_name["markupsafe"].wheels) == 10
    assert by_name["idna"] == LockFilePypiPackage(
        name="idna",
        version="3.20",
        wheels=(
            Artifact(
                file_name="idna-3.20-py3-none-any.whl",
                url=f"{URL}/packages/58/a2/bb081bab032533a855d44de1d56f8e8426114ff1ba5d1f07a438a0a654f8/idna-3.20-py3-none-any.whl",
                size=69583,
                sha256="ab7ae7122974553370f0bdb919e1a960b2cd1bc1ef0276416d896db81c14582c",
            ),
        ),
        build=BuildSource(
            url=f"{URL}/packages/f5/08/8eea9d4b8302028f3abb2c0813953f7aec26d33b7a8960ed760e65ff29fa/idna-3.20.tar.gz",
            sha256="a7db850025b95ded1eae8a46181a1a6c56c92c96f0e2b005d9ff8dc0210cab44",
        ),
    )


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (
            f'version = "1.0.0"\nwheels = [{{ url = "{URL}/a-1.0-py3-none-any.whl", hashes = {{ sha256 = "{ONE.upper()}" }} }}]',
            {"version": "1.0.0", "wheels": (wheel(sha256=ONE),)},
        ),
        (
            'wheels = [{ path = "wheels/a-1.0-py3-none-any.whl", size = 3, hashes = { md5 = "' + "a" * 32 + '" } }]',
            {
                "wheels": (
                    Artifact(
                        file_name="a-1.0-py3-none-any.whl",
                        url="file:///srv/project/wheels/a-1.0-py3-none-any.whl",
                        size=3,
                        md5="a" * 32,
                    ),
                )
            },
        ),
        (
            f'wheels = [{{ name = "a-1.0-py3-none-any.whl", url = "{URL}/get/17", hashes = {{ sha256 = "{ONE}" }} }}]',
            {"wheels": (Artifact(file_name="a-1.0-py3-none-any.whl", url=f"{URL}/get/17", sha256=ONE),)},
        ),
        (
            f'archive = {{ url = "{URL}/a-1.0-py3-none-any.whl", hashes = {{ sha256 = "{ONE}" }} }}',
            {"wheels": (wheel(sha256=ONE),)},
        ),
        (
            f'archive = {{ path = "a.zip", subdirectory = "in/it", hashes = {{ sha256 = "{ONE}" }} }}',
            {"build": BuildSource(url="file:///srv/project/a.zip", sha256=ONE, subdirectory="in/it")},
        ),
        (
            f'sdist = {{ url = "{URL}/a-1.0.tar.gz", hashes = {{ sha256 = "{ONE}" }} }}',
            {"build": BuildSource(url=f"{URL}/a-1.0.tar.gz", sha256=ONE)},
        ),
        ('directory = { path = "../beside", editable = true }', {"build": BuildSource(url="file:///srv/beside")}),
        (
            f'vcs = {{ type = "git", url = "https://me:canary@git.example.org/a.git", commit-id = "{"c" * 40}", subdirectory = "." }}',
            {"build": BuildSource(url="git+https://git.example.org/a.git", commit="c" * 40)},
        ),
        (
            f'vcs = {{ type = "git", path = "../a.git", commit-id = "{"c" * 40}" }}',
            {"build": BuildSource(url="git+file:///srv/a.git", commit="c" * 40)},
        ),
    ],
)
def test_every_kind_of_source_is_read(body: str, expected: dict[str, Any]) -> None:
    assert packages(body) == (LockFilePypiPackage(**{"name": "a", "version": "", **expected}),)


GROUPED = """
lock-version = "1.0"
extras = ["Plot_Ting"]
dependency-groups = ["dev"]
default-groups = ["default"]
"""
for name, marker in {
    "always": "",
    "project": "'default' in dependency_groups",
    "grouped": "'dev' in dependency_groups",
    "extra": "'plot-ting' in extras",
    "win": "sys_platform == 'win32'",
    "mac": "sys_platform == 'darwin'",
    "old": "python_version < '3.11'",
}.items():
    GROUPED += f'[[packages]]\nname = "{name}"\nmarker = "{marker}"\ndirectory = {{ path = "x" }}\n'


@pytest.mark.parametrize(
    ("wishes", "names"),
    [
        ({}, ["always", "project", "old"]),
        ({"groups": ["dev"]}, ["always", "project", "grouped", "old"]),
        ({"extras": ["plot.ting"]}, ["always", "project", "extra", "old"]),
        ({"mac": True}, ["always", "project", "mac", "old"]),
    ],
)
def test_groups_extras_and_the_target_decide_what_is_taken(wishes: dict[str, Any], names: list[str]) -> None:
    assert [package.name for package in read(GROUPED, **wishes).pypi] == names


@pytest.mark.parametrize(
    ("wishes", "message", "hint"),
    [
        ({"groups": ["nope"]}, "pylock.toml: there is no group `nope`", "The file has `dev`"),
        ({"groups": ["default"]}, "pylock.toml: there is no group `default`", "The file has `dev`"),
        ({"extras": ["nope"]}, "pylock.toml: there is no extra `nope`", "The file has `Plot_Ting`"),
    ],
)
def test_an_unknown_choice_is_refused_with_those_there_are(wishes: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(LockError) as caught:
        read(GROUPED, **wishes)
    assert (caught.value.message, caught.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("environments", "left"),
    [
        ("[]", ()),
        ("[\"sys_platform == 'linux'\"]", ()),
        ("[\"sys_platform == 'win32'\", \"os_name == 'posix'\"]", ()),
        ("[\"python_version >= '3.12'\", \"sys_platform == 'win32'\"]", ("python_version >= '3.12'",)),
    ],
)
def test_what_environments_say_of_the_python_is_left_for_the_python(environments: str, left: tuple[str, ...]) -> None:
    assert read(f'lock-version = "1.0"\nenvironments = {environments}\npackages = []').environments == left


REFUSED = [
    ("packages = [", "pylock.toml: this is not TOML ("),
    ("packages = []", "pylock.toml.lock-version: missing"),
    ('lock-version = "2.0"\npackages = []', "pylock.toml.lock-version: the version `2.0` is not known here"),
    ('lock-version = "1.0"', "pylock.toml.packages: missing"),
    (
        'lock-version = "1.0"\nrequires-python = "3"\npackages = []',
        "pylock.toml.requires-python: `3` is not a range of versions",
    ),
    (
        "lock-version = '1.0'\nenvironments = [\"sys_platform == 'win32'\"]\npackages = []",
        "pylock.toml.environments: nothing is locked for linux-64, only for `sys_platform == 'win32'`",
    ),
    ("lock-version = '1.0'\nenvironments = ['x']\npackages = []", "pylock.toml.environments: `x` is not a marker"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_a_document_that_cannot_be_read_is_refused(text: str, message: str) -> None:
    with pytest.raises(LockError) as caught:
        read(text)
    assert caught.value.message.startswith(message)


FIRST = "pylock.toml.packages[0]"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", f"{FIRST}: `a` has neither wheels nor a source"),
        ("wheels = []", f"{FIRST}: `a` has neither wheels nor a source"),
        ("wheels = 3", f"{FIRST}.wheels: expected list, found `3`"),
        ("wheels = [3]", f"{FIRST}.wheels[0]: expected an object"),
        ("wheels = [{}]", f"{FIRST}.wheels[0].url: missing"),
        ('wheels = [{ url = "x/a-1.tar.gz" }]', f"{FIRST}.wheels: `a-1.tar.gz` is not a wheel"),
        (
            'wheels = [{ url = "x/b-1-py3-none-any.whl" }]',
            f"{FIRST}.wheels: `b-1-py3-none-any.whl` is not a wheel of `a`",
        ),
        ('wheels = [{ url = "https://h/%2e%2e" }]', f"{FIRST}.wheels[0]: `..` is not the name of a package file"),
        (
            'wheels = [{ name = "../a-1.whl", url = "https://h/a" }]',
            f"{FIRST}.wheels[0]: `../a-1.whl` is not the name of a package file",
        ),
        (
            'wheels = [{ url = "https://me:canary@/a" }]',
            f"{FIRST}.wheels[0]: `https:///a` is not the address of a package file",
        ),
        ('wheels = [{ url = "ftp://h/a" }]', f"{FIRST}.wheels[0]: `ftp://h/a` is not the address of a package file"),
        (
            'wheels = [{ url = "x/a-1-py3-none-any.whl", size = -1 }]',
            f"{FIRST}.wheels[0]: a package file cannot have -1 bytes",
        ),
        (
            f'wheels = [{{ url = "x/a-1-py3-none-any.whl", size = {10**18} }}]',
            f"{FIRST}.wheels[0]: a package file cannot have {10**18} bytes",
        ),
        (
            'wheels = [{ url = "x/a-1-py3-none-any.whl", hashes = { sha256 = "x" } }]',
            f"{FIRST}.wheels[0].hashes: `x` is not a sha256",
        ),
        (
            'wheels = [{ url = "x/a-1-py3-none-any.whl", hashes = { sha256 = 1 } }]',
            f"{FIRST}.wheels[0].hashes.sha256: expected str, found int",
        ),
        (
            'wheels = [{ url = "x/a-1-py3-none-any.whl", hashes = { sha512 = "x" } }]',
            f"{FIRST}.wheels[0].hashes: a file is known only by its `sha512`",
        ),
        (
            f'sdist = {{ url = "x/a-1.zip", hashes = {{ md5 = "{"a" * 32}" }} }}',
            f"{FIRST}.sdist: of the source `a-1.zip` only the md5 is known",
        ),
        (
            'directory = { path = "x" }\nsdist = { url = "x/a-1.zip" }',
            f"{FIRST}: `a` has both `directory` and `sdist`, and only one can count",
        ),
        (
            'directory = { path = "x", subdirectory = "../y" }',
            f"{FIRST}.directory: `../y` is not a folder inside the source",
        ),
        ('directory = { path = "\\u0000" }', f"{FIRST}.directory.path: `?` is not a path"),
        (
            'vcs = { type = "hg", url = "https://h/a", commit-id = "1" }',
            f"{FIRST}.vcs.type: only repositories of git can be used, not of `hg`",
        ),
        (
            'vcs = { type = "git", url = "https://h/a", commit-id = "main" }',
            f"{FIRST}.vcs: `main` is not a commit in full",
        ),
        (
            'vcs = { type = "git", url = "https://h/a", commit-id = "--upload-pack=x" }',
            f"{FIRST}.vcs: `--upload-pack=x` is not a commit in full",
        ),
        (
            f'vcs = {{ type = "git", url = "ext::sh -c x", commit-id = "{"c" * 40}" }}',
            f"{FIRST}.vcs: `ext::sh -c x` is not the address of a git repository",
        ),
        ('marker = "x"\ndirectory = { path = "x" }', f"{FIRST}.marker: `x` is not a marker"),
        (
            'requires-python = "x"\ndirectory = { path = "x" }',
            f"{FIRST}.requires-python: `x` is not a range of versions",
        ),
        ('version = "x/y"\ndirectory = { path = "x" }', f"{FIRST}.version: `x/y` is not a version"),
    ],
)
def test_a_package_that_cannot_be_read_is_refused_with_its_field(body: str, message: str) -> None:
    with pytest.raises(LockError) as caught:
        packages(body)
    assert caught.value.message.startswith(message)
    assert "canary" not in caught.value.explain()


@pytest.mark.parametrize("name", ["", "../a", "a b", "-a", "a;rm"])
def test_a_name_that_no_project_can_have_is_refused(name: str) -> None:
    with pytest.raises(LockError, match=r"^pylock\.toml\.packages\[0\]\.name: "):
        read(f"lock-version = '1.0'\n[[packages]]\nname = '{name}'\ndirectory = {{ path = 'x' }}")


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    _read_or_refused(text)


@given(st.data())
def test_a_damaged_file_is_read_or_refused(data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(SAVED)))
    end = data.draw(st.integers(begin, min(begin + 200, len(SAVED))))
    put = data.draw(
        st.one_of(st.text(max_size=20), st.sampled_from(["0", "[]", "{}", '"x"', "true", "1979-05-27", "nan"]))
    )
    _read_or_refused(SAVED[:begin] + put + SAVED[end:])


_VALUES = st.recursive(
    st.one_of(
        st.integers(),
        st.booleans(),
        st.text(max_size=8),
        st.sampled_from(["1.0", "a", "../b", "https://h/a-1-py3-none-any.whl"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["url", "path", "hashes", "sha256", "type", "commit-id", "name", "size", "subdirectory"]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=8,
)


@given(
    st.dictionaries(
        st.sampled_from(["version", "marker", "requires-python", "vcs", "directory", "archive", "sdist", "wheels"]),
        _VALUES,
        max_size=4,
    )
)
def test_values_of_any_kind_are_read_or_refused(fields: dict[str, Any]) -> None:
    body = "\n".join(f"{key} = {_toml(value)}" for key, value in fields.items())
    _read_or_refused(f'lock-version = "1.0"\n[[packages]]\nname = "a"\n{body}')


def _toml(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case int():
            return str(value)
        case list():
            return f"[{', '.join(map(_toml, value))}]"
        case dict():
            return f"{{ {', '.join(f'{key} = {_toml(inner)}' for key, inner in value.items())} }}"
    escaped = "".join(f"\\U{ord(letter):08x}" for letter in str(value))
    return f'"{escaped}"'


def _read_or_refused(text: str) -> None:
    found, refusal = LockFileContent(), ""
    try:
        found = read(text)
    except LockError as error:
        refusal = error.message
    assert not refusal or refusal.startswith("pylock.toml")
    assert len(refusal) < 1000
    assert all(package.wheels or package.build for package in found.pypi)
