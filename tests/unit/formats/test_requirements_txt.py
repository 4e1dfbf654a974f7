"""Requirements files: what each line means, and what is said of lines that mean nothing."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.channel import Channel
from mfenv.domain.flags import ResolverFlag
from mfenv.domain.index import IndexSecret, PackageIndex
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.python import PythonConstraint
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import Place, SpecLayer
from mfenv.errors import InvalidSpec
from mfenv.formats.requirements_txt import load
from mfenv.formats.written import Written

A, B = "a" * 64, "b" * 64


def read(text: str, folder: Path = Path("/flows"), **files: str) -> Written:
    def included(path: Path) -> str:
        if path.name.removesuffix(".txt") not in files:
            raise InvalidSpec(f"`{path.name}` cannot be read: No such file or directory")
        return files[path.name.removesuffix(".txt")]

    return load(text, shown="requirements.txt", folder=folder, read=included, environment={"TOKEN": "s3cret"})


def refused(text: str, **files: str) -> str:
    with pytest.raises(InvalidSpec) as caught:
        read(text, **files)
    assert "s3cret" not in caught.value.explain()
    return caught.value.message


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("requests", Requirement(name="requests")),
        ("Requests_OAuthlib >= 1.3, <2", Requirement(name="requests-oauthlib", specifier="<2,>=1.3")),
        ("requests[socks,security]==2.31.0", Requirement(name="requests", extras=("security", "socks"), specifier="==2.31.0")),
        ("a>=1 ; sys_platform == 'linux'", Requirement(name="a", specifier=">=1", marker='sys_platform == "linux"')),
        ("a==1  # via b", Requirement(name="a", specifier="==1")),
        ("a===1.0.foo", Requirement(name="a", specifier="===1.0.foo")),
        ("a @ https://h.example.org/a-1.0-py3-none-any.whl", Requirement(name="a", url="https://h.example.org/a-1.0-py3-none-any.whl")),
        ("https://h.example.org/a_b-1.0-py3-none-any.whl", Requirement(name="a-b", url="https://h.example.org/a_b-1.0-py3-none-any.whl")),
        ("https://h.example.org/a-1.0.tar.gz", Requirement(name="a", url="https://h.example.org/a-1.0.tar.gz")),
        ("git+https://h.example.org/r.git@v1#egg=a", Requirement(name="a", url="git+https://h.example.org/r.git@v1")),
        ("git+https://h.example.org/r@v1#egg=a&subdirectory=s", Requirement(name="a", url="git+https://h.example.org/r@v1#subdirectory=s")),
        ("git+https://h.example.org/r#egg=a[x]", Requirement(name="a", extras=("x",), url="git+https://h.example.org/r")),
        ("-e git+https://h.example.org/r#egg=a", Requirement(name="a", url="git+https://h.example.org/r")),
        ("./dist/a-1.0-py3-none-any.whl", Requirement(name="a", url="file:///flows/dist/a-1.0-py3-none-any.whl")),
        ("dist/a-1.0-py3-none-any.whl", Requirement(name="a", url="file:///flows/dist/a-1.0-py3-none-any.whl")),
        ("a @ ./lib", Requirement(name="a", url="file:///flows/lib")),
        (f"a==1 --hash=sha256:{B} --hash=sha256:{A}", Requirement(name="a", specifier="==1", hashes=(f"sha256:{A}", f"sha256:{B}"))),
        (f"a==1 \\\n    --hash=sha256:{A} \\\n    --hash=sha512:{B}", Requirement(name="a", specifier="==1", hashes=(f"sha256:{A}",))),
    ],
)  # fmt: skip
def test_a_requirement_is_read_as_pip_reads_it(line: str, wanted: Requirement) -> None:
    assert read(f"# first\n{line}\n").layer == SpecLayer(
        pypi=(wanted,), places=((wanted.name, Place(owner="requirements.txt:2", text=str(wanted))),)
    )


@pytest.mark.parametrize(
    ("line", "layer"),
    [
        ("", SpecLayer()),
        ("# a comment", SpecLayer()),
        ("--index-url https://i.example.org/simple", SpecLayer(default_index=PackageIndex(url="https://i.example.org/simple"))),
        ("-i https://i.example.org/simple/", SpecLayer(default_index=PackageIndex(url="https://i.example.org/simple"))),
        ("--extra-index-url https://i.example.org/a", SpecLayer(indexes=(PackageIndex(url="https://i.example.org/a"),))),
        ("--extra-index-url=https://i.example.org/a", SpecLayer(indexes=(PackageIndex(url="https://i.example.org/a"),))),
        ("--pre", SpecLayer(flags=(ResolverFlag(name="prerelease", value="allow"),))),
        ("--no-index", SpecLayer(flags=(ResolverFlag(name="no-index"),))),
        ("-f ./wheels", SpecLayer(flags=(ResolverFlag(name="find-links", value="file:///flows/wheels"),))),
        ("--find-links=https://h.example.org/w", SpecLayer(flags=(ResolverFlag(name="find-links", value="https://h.example.org/w"),))),
        ("--trusted-host h.example.org", SpecLayer(flags=(ResolverFlag(name="trusted-host", value="h.example.org"),))),
        ("--only-binary :all:", SpecLayer(flags=(ResolverFlag(name="only-binary", value=":all:"),))),
        ("--no-binary a,B_c", SpecLayer(flags=(ResolverFlag(name="no-binary", value="a,b-c"),))),
        ("--prefer-binary", SpecLayer()),
        ("--require-hashes", SpecLayer()),
        ("--conda-channel bioconda", SpecLayer(channels=(Channel(location="bioconda"),))),
        ("--sys-pkg __cuda==12.4", SpecLayer(system=(("__cuda", "12.4"),))),
        ("--sys-pkg __glibc=2.31", SpecLayer(system=(("__glibc", "2.31"),))),
        ("python", SpecLayer()),
    ],
)  # fmt: skip
def test_an_option_is_read_as_pip_reads_it(line: str, layer: SpecLayer) -> None:
    assert read(line + "\r\n").layer == layer


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("ffmpeg", MatchSpec(name="ffmpeg")),
        ("ffmpeg>=6,<7", MatchSpec(name="ffmpeg", version="<7,>=6")),
        ("ffmpeg=6", MatchSpec(name="ffmpeg", version="6.*")),
        ("ffmpeg==6.1", MatchSpec(name="ffmpeg", version="==6.1")),
        ("x!=3", MatchSpec(name="x", version="!=3")),
        ("conda-forge::ffmpeg", MatchSpec(name="ffmpeg", channel=Channel(location="conda-forge"))),
    ],
)
def test_conda_packages_are_read_as_conda_reads_them(text: str, spec: MatchSpec) -> None:
    place = Place(owner="requirements.txt:1", text=f"--conda-pkg {spec}")
    assert read(f"--conda-pkg {text}").layer == SpecLayer(conda_only=(spec,), places=((spec.name, place),))


@pytest.mark.parametrize(
    ("text", "python"),
    [("python>=3.10,<3.12", "<3.12,>=3.10"), ("python==3.11", "3.11.*"), ("python==3.11.7", "==3.11.7")],
)
def test_a_python_can_be_asked_for(text: str, python: str) -> None:
    assert read(text).layer.python == PythonConstraint(version=python)


def test_the_order_of_indexes_is_that_of_the_lines() -> None:
    lines = "\n".join(f"--extra-index-url https://{name}.example.org" for name in "cab")
    assert [str(index) for index in read(lines).layer.indexes] == [f"https://{name}.example.org" for name in "cab"]


def test_credentials_are_told_apart() -> None:
    found = read("-i https://me:${TOKEN}@i.example.org/simple\na @ https://me:${TOKEN}@h.example.org/a-1.tar.gz")
    assert "s3cret" not in repr(found)
    assert found.index_secrets == (
        IndexSecret(index=PackageIndex(url="https://i.example.org/simple"), secret_url="https://me:s3cret@i.example.org/simple"),
        IndexSecret(index=PackageIndex(url="https://h.example.org/a-1.tar.gz"), secret_url="https://me:s3cret@h.example.org/a-1.tar.gz"),
    )  # fmt: skip


def test_files_are_included_where_they_are_named() -> None:
    found = read("-r other.txt\na", other="-r third.txt\nb", third="c\n--pre").layer
    assert [wanted.name for wanted in found.pypi] == ["c", "b", "a"]
    assert [flag.value for flag in found.flags] == ["allow"]
    assert dict(found.places)["c"] == Place(owner="third.txt:1", text="c")


def test_constraints_ask_for_nothing() -> None:
    found = read("a\n-c limits.txt", limits="a<2\nb<3\n-r more.txt", more="c<4").layer
    assert [str(wanted) for wanted in found.pypi] == ["a"]
    assert sorted(map(str, found.constraints)) == ["a<2", "b<3", "c<4"]


def test_what_two_lines_say_of_one_project_holds_together() -> None:
    assert read("a>=1\na[x]<2").layer.pypi == (Requirement(name="a", extras=("x",), specifier="<2,>=1"),)
    assert "requirements.txt:2:1" in refused("a==1\na==2")


def test_a_local_project_has_the_name_that_it_gives_itself(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "pyproject.toml").write_text('[project]\nname = "My_Lib"\n')
    found = read("-e ./lib\n", folder=tmp_path).layer.pypi
    assert found == (Requirement(name="my-lib", url=(tmp_path / "lib").as_uri(), is_editable=True),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not a requirement", "requirements.txt:1:1: `not a requirement` is not a requirement"),
        ("\n  --no-such-option x", "requirements.txt:2:3: the option `--no-such-option` is not known"),
        ("-r gone.txt", "requirements.txt:1:1: `gone.txt` cannot be read: No such file or directory"),
        ("git+https://me:${TOKEN}@h.example.org/r", "requirements.txt:1:1: `git+https://h.example.org/r` does not tell which project it is"),
        ("--conda-pkg", "requirements.txt:1:1: `--conda-pkg` needs a value"),
        ("--sys-pkg __cuda", "requirements.txt:1:1: `__cuda` has no version"),
        ("--sys-pkg numpy==1", "requirements.txt:1:1: `numpy` is not a virtual package that can be set"),
        ("python>=3.10 ; sys_platform == 'linux'", "requirements.txt:1:1: a Python cannot depend on a marker: `python>=3.10 ; sys_platform == \"linux\"`"),
        (f"a==1 --hash=sha512:{A}", "requirements.txt:1:1: only hashes of the kind sha256 can be checked"),
        ("a==1 --hash=sha256:12", "requirements.txt:1:1: `sha256:12` is not a SHA-256"),
        ("./nowhere", "requirements.txt:1:1: there is no folder `/flows/nowhere`"),
        ("a b\nok\nc d", "requirements.txt:1:1: `a b` is not a requirement\nrequirements.txt:3:1: `c d` is not a requirement"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(text: str, message: str) -> None:
    assert refused(text) == message


def test_a_file_that_includes_itself_is_refused() -> None:
    assert "includes itself" in refused("-r a.txt", a="-r b.txt", b="-r a.txt")


_LINES = st.sampled_from(
    [
        "a==1",
        "-r x.txt",
        "--hash=sha256:1",
        "\\",
        "#",
        "-e .",
        "a @ ",
        "--pre",
        "${TOKEN}",
        "[",
        "git+",
        "\x00",
        "é",
        "-",
    ]
)


@given(st.one_of(st.text(max_size=60), st.lists(_LINES, max_size=6).map(" ".join), st.lists(_LINES).map("\n".join)))
def test_whatever_the_text_only_our_errors_come(text: str) -> None:
    with contextlib.suppress(InvalidSpec):
        read(text, x="a")
