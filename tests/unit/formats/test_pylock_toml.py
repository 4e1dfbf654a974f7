"""Lock files as uv 0.13 writes them; the saved ones come from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mfenv.domain.artifact import Artifact
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.resolved import BuildSource, ResolvedPypiPackage
from mfenv.errors import LockError
from mfenv.formats import pylock_toml
from mfenv.formats.pylock_toml import WheelChoice
from mfenv.resolve.wheel_tags import wheel_tags

SAVED = Path(__file__).parents[2] / "data" / "pylock"
CHOICE = WheelChoice(tags=wheel_tags(baseline(Platform.LINUX_64, {}), "3.11.7"))
FILES = "http://index.invalid/index/files"


def wheel(name: str, sha256: str, url: str = "") -> ResolvedPypiPackage:
    file_name = f"{name}-1.0-py3-none-any.whl"
    return ResolvedPypiPackage(
        name=name.replace("_", "-"),
        version="1.0",
        wheel=Artifact(file_name=file_name, url=url or f"{FILES}/{file_name}", sha256=sha256),
    )


ONE = wheel("one", "98607fc2839bb4545a0c39baf46b22ef8ff85a74cd508d2a5c2aa760c0cc8b21")
TWO = wheel("two_words", "d05c49d212fe45dc774e20e9b31b74a7318728abf96e13edcc3d6521f7998dcd")
SDIST = f"{FILES}/only_source-1.0.tar.gz"

EXPECTED: dict[str, tuple[ResolvedPypiPackage, ...]] = {
    "wheels": (ONE, TWO),
    "source-only": (
        ResolvedPypiPackage(
            name="only-source",
            version="1.0",
            build=BuildSource(url=SDIST, sha256="89e6bc6858d6e460fe889aa0e5fcf2eb9e8c42d3d4623543d47f558959b80948"),
        ),
    ),
    "repository": (
        ResolvedPypiPackage(
            name="sub",
            version="1.0",
            build=BuildSource(
                url="git+file:///served/repo", commit="6cb6331e4e54c9cd5599e86ca4229fc0412a9bdf", subdirectory="inner"
            ),
        ),
    ),
    "folder": (ResolvedPypiPackage(name="folder", version="", build=BuildSource(url="file:///served/a%20folder")),),
    "editable": (ResolvedPypiPackage(name="folder", version="", build=BuildSource(url="file:///served/a%20folder")),),
    "archive": (
        ONE,
        ResolvedPypiPackage(
            name="only-source",
            version="1.0",
            build=BuildSource(url=SDIST, sha256="89e6bc6858d6e460fe889aa0e5fcf2eb9e8c42d3d4623543d47f558959b80948"),
        ),
        TWO,
    ),
    "stub": (
        ONE,
        wheel(
            "stubbed",
            "95ec58e9569b71cc388534942d435e3e988227cd7ffe5b94ad8f74e7458deecb",
            "file:///served/stubs/stubbed-1.0-py3-none-any.whl",
        ),
        TWO,
    ),
}


@pytest.mark.parametrize("name", EXPECTED)
def test_reads_what_uv_writes(name: str) -> None:
    assert pylock_toml.load((SAVED / f"{name}.toml").read_bytes(), CHOICE) == EXPECTED[name]


def test_an_empty_answer_has_no_packages() -> None:
    assert pylock_toml.load(b'lock-version = "1.0"\n', CHOICE) == ()


def test_credentials_are_left_out_and_the_user_of_a_secure_shell_is_not() -> None:
    content = b"""
    [[packages]]
    name = "a"
    version = "1"
    wheels = [{ url = "https://me:canary@h/a-1-py3-none-any.whl?token=canary", size = 3, hashes = { md5 = "0" } }]
    [[packages]]
    name = "b"
    vcs = { type = "git", url = "ssh://git:canary@h/b.git", commit-id = "c" }
    [[packages]]
    name = "c"
    vcs = { type = "git", url = "https://canary@h/c.git", commit-id = "c" }
    """
    assert pylock_toml.load(content, CHOICE) == (
        ResolvedPypiPackage(
            name="a",
            version="1",
            wheel=Artifact(file_name="a-1-py3-none-any.whl", url="https://h/a-1-py3-none-any.whl", size=3, md5="0"),
        ),
        ResolvedPypiPackage(name="b", version="", build=BuildSource(url="git+ssh://git@h/b.git", commit="c")),
        ResolvedPypiPackage(name="c", version="", build=BuildSource(url="git+https://h/c.git", commit="c")),
    )


def test_escaped_names_and_local_paths_keep_their_meaning() -> None:
    content = b"""
    [[packages]]
    name = "a"
    version = "1+local"
    wheels = [{ url = "https://h/a-1%2Blocal-py3-none-any.whl" }]
    [[packages]]
    name = "b"
    directory = { path = "/srv/100%25 #1?" }
    """
    first, second = pylock_toml.load(content, CHOICE)
    assert first.wheel
    assert first.wheel.file_name == "a-1+local-py3-none-any.whl"
    assert second.build
    assert second.build.url == "file:///srv/100%2525%20%231%3F"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"packages = [", "pylock.toml: this is not TOML"),
        (b"\xff", "pylock.toml: this is not TOML"),
        (b"[[packages]]\nversion = '1'", "name"),
        (b"[[packages]]\nname = 3", "name"),
        (b"[[packages]]\nname = 'a'\nwheels = [{}]", "wheels"),
        (b"[[packages]]\nname = 'a'\nvcs = { type = 'git' }", "commit-id"),
        (b"packages = 3", "packages"),
    ],
)
def test_refuses_what_it_cannot_read_and_names_the_field(content: bytes, message: str) -> None:
    with pytest.raises(LockError) as caught:
        pylock_toml.load(content, CHOICE)
    assert message in caught.value.message


# -- which of several wheels


LINUX = [
    "cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64",
    "cp311-cp311-manylinux_2_28_x86_64",
    "cp311-cp311-manylinux_2_34_x86_64",
    "cp311-cp311-musllinux_1_2_x86_64",
    "cp39-abi3-manylinux_2_17_x86_64",
    "cp311-cp311-macosx_10_9_x86_64",
    "cp311-cp311-macosx_11_0_arm64",
    "cp311-cp311-macosx_14_0_arm64",
    "cp311-cp311-macosx_10_9_universal2",
    "cp38-cp38-manylinux_2_17_x86_64",
    "cp313-cp313-manylinux_2_28_x86_64",
    "cp313-cp313t-manylinux_2_28_x86_64",
    "cp311-cp311-win_amd64",
    "cp311-cp311-manylinux_2_28_aarch64",
    "py3-none-any",
]

CHOICES = [
    ("linux-64", {"__glibc": "2.17"}, "3.11.7", LINUX[0]),
    ("linux-64", {"__glibc": "2.27"}, "3.11.7", LINUX[0]),
    ("linux-64", {"__glibc": "2.28"}, "3.11.7", LINUX[1]),
    ("linux-64", {"__glibc": "2.34"}, "3.11.7", LINUX[2]),
    ("linux-64", {"__glibc": "2.40"}, "3.11.7", LINUX[2]),
    ("linux-64", {"__glibc": "2.12"}, "3.11.7", LINUX[-1]),
    ("linux-aarch64", {}, "3.11.7", LINUX[13]),
    ("linux-aarch64", {}, "3.12.1", LINUX[-1]),
    ("linux-64", {}, "3.8.18", LINUX[9]),
    ("linux-64", {}, "3.9.0", LINUX[4]),
    ("linux-64", {}, "3.12.1", LINUX[4]),
    ("linux-64", {}, "3.13.0", LINUX[10]),
    ("osx-64", {}, "3.11.7", LINUX[5]),
    ("osx-64", {"__osx": "10.8"}, "3.11.7", LINUX[-1]),
    ("osx-arm64", {"__osx": "11.0"}, "3.11.7", LINUX[6]),
    ("osx-arm64", {"__osx": "14.2"}, "3.11.7", LINUX[7]),
    ("osx-arm64", {"__osx": "13.0"}, "3.11.7", LINUX[6]),
]


@pytest.mark.parametrize(("platform", "facts", "python", "tags"), CHOICES)
def test_the_best_wheel_for_a_target_is_chosen(platform: str, facts: dict[str, str], python: str, tags: str) -> None:
    choice = WheelChoice(tags=wheel_tags(baseline(Platform(platform), facts), python))
    wheels = [Artifact(file_name=f"many-1.0-{found}.whl", url="") for found in LINUX]
    for order in (wheels, wheels[::-1]):
        best = choice.best(order)
        assert best
        assert best.file_name == f"many-1.0-{tags}.whl"


@pytest.mark.parametrize(
    "file_name",
    [
        "many-1.0-cp311-cp311-win_amd64.whl",
        "many-1.0-cp312-cp312-manylinux_2_17_x86_64.whl",
        "many-1.0-cp312-abi3-manylinux_2_17_x86_64.whl",
        "many-1.0-cp311-cp311-manylinux_2_29_x86_64.whl",
        "many-1.0.whl",
        "many.whl",
        "many-1.0.tar.gz",
    ],
)
def test_a_wheel_that_does_not_fit_is_not_taken(file_name: str) -> None:
    assert CHOICE.best([Artifact(file_name=file_name, url="")]) is None


def test_a_build_number_in_the_name_is_read_over() -> None:
    wheels = [Artifact(file_name="many-1.0-7-py3-none-any.whl", url="")]
    assert CHOICE.best(wheels) == wheels[0]


def test_a_path_relative_to_the_lock_is_where_the_lock_was(tmp_path: Path) -> None:
    content = b"""
    [[packages]]
    name = "needed"
    directory = { path = "../beside/it" }
    """
    (package,) = pylock_toml.load(content, CHOICE, folder=tmp_path / "resolved")
    assert package.build == BuildSource(url=f"{tmp_path.as_uri()}/beside/it")
