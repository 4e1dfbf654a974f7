"""Requirements files: what each line means, and what is said of lines that mean nothing."""

from __future__ import annotations

import contextlib
import re
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
SAMPLES = Path(__file__).parents[2] / "data" / "requirements"
RICH = ("markdown-it-py==4.3.0", "mdurl==0.1.2", "pygments==2.21.0", "rich==14.3.4")


def read(text: str, folder: Path = Path("/flows"), **files: str) -> Written:
    def included(path: Path) -> str:
        if path.name.removesuffix(".txt") not in files:
            raise InvalidSpec(f"`{path.name}` cannot be read: No such file or directory")
        return files[path.name.removesuffix(".txt")]

    return load(
        text, shown="requirements.txt", folder=folder, read=included, environment={"TOKEN": "s3cret", "EMPTY": ""}
    )


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
        ("git+https://h.example.org/r#egg=a; os_name=='posix'", Requirement(name="a", url="git+https://h.example.org/r", marker='os_name == "posix"')),
        ("a @ https://h.example.org/a-1.zip; os_name=='posix'", Requirement(name="a", url="https://h.example.org/a-1.zip", marker='os_name == "posix"')),
        (f"https://h.example.org/a-1.0.tar.gz#sha256={A}", Requirement(name="a", url=f"https://h.example.org/a-1.0.tar.gz#sha256={A}")),
        ("git+ssh://git@h.example.org/r@main#egg=a", Requirement(name="a", url="git+ssh://git@h.example.org/r@main")),
        ("-e ./lib#egg=a", Requirement(name="a", url="file:///flows/lib", is_editable=True)),
        ("./lib#egg=a[x]&subdirectory=s", Requirement(name="a", extras=("x",), url="file:///flows/lib/s")),
        ("./a-1.0-py3-none-any.whl[x]", Requirement(name="a", extras=("x",), url="file:///flows/a-1.0-py3-none-any.whl")),
        ("./a%20b/a-1.0.tar.gz", Requirement(name="a", url="file:///flows/a%2520b/a-1.0.tar.gz")),
        ("file:a%20b/a-1.0.tar.gz", Requirement(name="a", url="file:///flows/a%20b/a-1.0.tar.gz")),
        ("a @ file://localhost/x/lib", Requirement(name="a", url="file:///x/lib")),
        ("a @ lib", Requirement(name="a", url="file:///flows/lib")),
        ("a[x] @ ../lib ; os_name=='posix'", Requirement(name="a", extras=("x",), url="file:///lib", marker='os_name == "posix"')),
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
        ("--use-feature fast-deps", SpecLayer()),
        ("-i=https://i.example.org/simple", SpecLayer(default_index=PackageIndex(url="https://i.example.org/simple"))),
        ("-ihttps://i.example.org/simple", SpecLayer(default_index=PackageIndex(url="https://i.example.org/simple"))),
        ("--pre --no-index", SpecLayer(flags=(ResolverFlag(name="no-index"), ResolverFlag(name="prerelease", value="allow")))),
        ("--conda-channel bioconda", SpecLayer(channels=(Channel(location="bioconda"),))),
        ("--sys-pkg __cuda==12.4", SpecLayer(system=(("__cuda", "12.4"),))),
        ("--sys-pkg __cuda == 12.4", SpecLayer(system=(("__cuda", "12.4"),))),
        ("--sys-pkg __archspec==1=x86_64", SpecLayer(system=(("__archspec", "1=x86_64"),))),
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
        ("\\\n  ffmpeg >=6,<7", MatchSpec(name="ffmpeg", version="<7,>=6")),
        ("ffmpeg  # why", MatchSpec(name="ffmpeg")),
        ("ffmpeg ; os_name=='posix'", MatchSpec(name="ffmpeg", marker='os_name == "posix"')),
        ("conda-forge::ffmpeg", MatchSpec(name="ffmpeg", channel=Channel(location="conda-forge"))),
    ],
)
def test_conda_packages_are_read_as_conda_reads_them(text: str, spec: MatchSpec) -> None:
    place = Place(owner="requirements.txt:1", text=f"--conda-pkg {spec}")
    assert read(f"--conda-pkg {text}").layer == SpecLayer(conda_only=(spec,), places=((spec.name, place),))


@pytest.mark.parametrize(
    ("text", "python"),
    [
        ("python>=3.10,<3.12", "<3.12,>=3.10"),
        ("python==3.11", "3.11.*"),
        ("python==3.11.7", "==3.11.7"),
        ("Python ~= 3.10", "~=3.10"),
    ],
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


def test_a_variable_without_a_value_stays_as_it_is() -> None:
    # As pip has it: an empty one has none, and only capitals are names.
    for name in ("EMPTY", "NOT_SET", "token"):
        (index,) = read(f"-i https://me:${{{name}}}@i.example.org/simple").index_secrets
        assert index.secret_url == f"https://me:${{{name}}}@i.example.org/simple"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-i ${TOKEN}", "requirements.txt:1:1: `${TOKEN}` is not the address of a package index"),
        ("a ${TOKEN}", "requirements.txt:1:1: `a ${TOKEN}` is not a requirement"),
        ("--sys-pkg __cuda==${TOKEN}", "requirements.txt:1:1: `${TOKEN}` is not a version"),
        ("-r https://me:${TOKEN}@h.example.org/r.txt", "requirements.txt:1:1: `https://h.example.org/r.txt` is not on this machine"),
        ("--no-such=https://me:${TOKEN}@h.example.org", "requirements.txt:1:1: the option `--no-such` is not known"),
        ("a @ http://me:${TOKEN}@[h", "requirements.txt:1:1: `http://[h` is not an address"),
        ("-i https://me:${TOKEN}@[h", "requirements.txt:1:1: `[h` is not the address of a package index"),
    ],
)  # fmt: skip
def test_no_value_of_a_variable_is_told_of(line: str, message: str) -> None:
    assert refused(line) == message


def test_files_are_included_where_they_are_named() -> None:
    found = read("-r other.txt\na", other="-r third.txt\nb", third="c\n--pre").layer
    assert [wanted.name for wanted in found.pypi] == ["c", "b", "a"]
    assert [flag.value for flag in found.flags] == ["allow"]
    assert dict(found.places)["c"] == Place(owner="third.txt:1", text="c")


def test_paths_in_a_file_that_is_included_start_at_its_folder(tmp_path: Path) -> None:
    (tmp_path / "envs").mkdir()
    (tmp_path / "envs" / "base.txt").write_text("-r ../more.txt\n-f wheels/\na @ ./lib\n")
    (tmp_path / "more.txt").write_text("b @ ./lib\nc d\n")
    with pytest.raises(InvalidSpec) as caught:
        load("-r envs/base.txt", shown="all/requirements.txt", folder=tmp_path)
    assert caught.value.message == "all/more.txt:2:1: `c d` is not a requirement"
    (tmp_path / "more.txt").write_text("b @ ./lib\n")
    assert load("-r envs/base.txt", shown="all/requirements.txt", folder=tmp_path).layer == SpecLayer(
        pypi=(
            Requirement(name="b", url=(tmp_path / "lib").as_uri()),
            Requirement(name="a", url=(tmp_path / "envs" / "lib").as_uri()),
        ),
        flags=(ResolverFlag(name="find-links", value=(tmp_path / "envs" / "wheels").as_uri()),),
        places=(
            ("b", Place(owner="all/more.txt:1", text=f"b @ {(tmp_path / 'lib').as_uri()}")),
            ("a", Place(owner="all/envs/base.txt:3", text=f"a @ {(tmp_path / 'envs' / 'lib').as_uri()}")),
        ),
    )


def test_constraints_ask_for_nothing() -> None:
    found = read("a\n-c limits.txt", limits=f"a<2 --hash=sha256:{A}\nb<3\npython<3.13\n-r more.txt", more="c<4").layer
    assert found == SpecLayer(
        pypi=(Requirement(name="a"),),
        constraints=(
            Requirement(name="a", specifier="<2", hashes=(f"sha256:{A}",)),
            Requirement(name="b", specifier="<3"),
            Requirement(name="c", specifier="<4"),
        ),
        requires_python=PythonConstraint(version="<3.13"),
        places=(("a", Place(owner="requirements.txt:1", text="a")),),
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("a[x]<2", "limits.txt:1:1: a constraint cannot have extras: `a[x]<2`"),
        ("a @ ./lib", "limits.txt:1:1: a constraint cannot be what lies on this machine: `a`"),
        ("--conda-pkg ffmpeg", "limits.txt:1:1: a file of constraints asks for no packages"),
    ],
)
def test_a_constraint_is_refused_that_would_ask_for_something(line: str, message: str) -> None:
    assert refused("-c limits.txt", limits=line) == message


def test_a_file_counts_once_however_often_it_is_included() -> None:
    deep = {f"f{number}": f"-r f{number + 1}.txt\n-r f{number + 1}.txt" for number in range(15)}
    assert read("-r f0.txt\n-c f0.txt", **deep, f15="a").layer == SpecLayer(
        pypi=(Requirement(name="a"),),
        constraints=(Requirement(name="a"),),
        places=(("a", Place(owner="f15.txt:1", text="a")),),
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a>=1\na[x]<2", Requirement(name="a", extras=("x",), specifier="<2,>=1")),
        (f"a==1\na --hash=sha256:{A}", Requirement(name="a", specifier="==1", hashes=(f"sha256:{A}",))),
    ],
)
def test_what_two_lines_say_of_one_project_holds_together(text: str, wanted: Requirement) -> None:
    assert read(text).layer.pypi == (wanted,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a==1\nb\na==2", "requirements.txt:3:1 and requirements.txt:1:1: `a` is said twice and differently: `==1` and `==2`"),
        ("-r x.txt\n a==2", "requirements.txt:2:2 and x.txt:1:1: `a` is said twice and differently: `==1` and `==2`"),
        ("a==2\n-r x.txt", "x.txt:1:1 and requirements.txt:1:1: `a` is said twice and differently: `==2` and `==1`"),
        ("a>1\na @ ./lib", "requirements.txt:2:1 and requirements.txt:1:1: `a` is said twice and differently: `a>1` and `a @ file:///flows/lib`"),
        ("python==3.11\npython==3.12", "requirements.txt:2:1 and requirements.txt:1:1: `python` is said twice and differently: `3.11.*` and `3.12.*`"),
        ("--conda-pkg a==1\n--conda-pkg a==2", "requirements.txt:2:1 and requirements.txt:1:1: `a` is said twice and differently: `==1` and `==2`"),
        ("--sys-pkg __cuda==11\n--sys-pkg __cuda==12", "requirements.txt:2:1 and requirements.txt:1:1: `__cuda` is said twice and differently: `11` and `12`"),
        ("-i https://a.example.org\n-i https://b.example.org", "requirements.txt:2:1 and requirements.txt:1:1: `index-url` is said twice and differently: `https://a.example.org` and `https://b.example.org`"),
    ],
)  # fmt: skip
def test_two_lines_that_contradict_each_other_are_both_named(text: str, message: str) -> None:
    assert refused(text, x="a==1") == message


def test_one_project_can_have_two_versions_for_two_kinds_of_machines() -> None:
    found = read("a==1 ; os_name=='posix'\na==2 ; os_name!='posix'").layer.pypi
    assert [wanted.specifier for wanted in found] == ["==1", "==2"]


def test_a_local_project_has_the_name_that_it_gives_itself(tmp_path: Path) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "pyproject.toml").write_text('[project]\nname = "My_Lib"\n')
    found = read("-e ./lib\n", folder=tmp_path).layer.pypi
    assert found == (Requirement(name="my-lib", url=(tmp_path / "lib").as_uri(), is_editable=True),)


@pytest.mark.parametrize(
    ("line", "extras", "marker"),
    [
        ("-e lib", (), ""),
        ("-e 'lib'", (), ""),
        ("-e ./lib[x,y]", ("x", "y"), ""),
        ("-e file:lib", (), ""),
        ("--editable=./lib", (), ""),
        ("-e ./lib ; os_name=='posix'", (), 'os_name == "posix"'),
        ("-e my-lib[x] @ ./lib", ("x",), ""),
    ],
)
def test_what_is_editable_is_a_folder_and_never_a_project_of_an_index(
    line: str, extras: tuple[str, ...], marker: str, tmp_path: Path
) -> None:
    (tmp_path / "lib").mkdir()
    (tmp_path / "lib" / "setup.cfg").write_text("[metadata]\nname = my.lib\n")
    assert read(line, folder=tmp_path).layer.pypi == (
        Requirement(name="my-lib", extras=extras, marker=marker, url=(tmp_path / "lib").as_uri(), is_editable=True),
    )


@pytest.mark.parametrize("name", ["uv-hashes.txt", "pip-compile.txt", "uv-annotated.txt"])
def test_what_tools_lock_is_read_whole(name: str) -> None:
    text = (SAMPLES / name).read_text()
    found = load(text, shown=name, folder=SAMPLES).layer.pypi
    assert tuple(str(wanted) for wanted in found if not wanted.marker) == RICH
    assert [str(wanted) for wanted in found if wanted.marker] == (
        ['colorama==0.4.6 ; sys_platform == "win32"'] if name == "uv-hashes.txt" else []
    )
    assert sorted(found for wanted in found for found in wanted.hashes) == sorted(re.findall(r"sha256:\w+", text))


def test_what_pip_freezes_is_read_whole() -> None:
    found = load((SAMPLES / "pip-freeze.txt").read_text(), shown="r", folder=SAMPLES).layer.pypi
    assert [str(wanted) for wanted in found] == [
        "build==1.6.1",
        "click==8.5.1",
        "idna==3.20",
        "mdurl @ file:///tmp/demo/mdurl-0.1.2-py3-none-any.whl#sha256=84008a41e51615a49fc9966191ff91509e3c40b939176e643fd50a5c2196b8f8",
        "my-lib @ git+https://git.example.org/team/my-lib.git@e199d0ca2110541eb55be2c4fbde990dc3ae1b10",
        "packaging==26.3",
        "pip-tools==7.6.2",
        "pyproject-hooks==1.3.3",
        "six==1.17.0",
    ]


def test_where_hashes_are_asked_for_every_requirement_needs_one() -> None:
    assert refused(f"a==1 --hash=sha256:{A}\n--require-hashes\nb==1\n-r x.txt", x="c") == (
        "requirements.txt:3:1: `b==1` has no hash, which `--require-hashes` asks for\n"
        "x.txt:1:1: `c` has no hash, which `--require-hashes` asks for"
    )


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_any_end_of_line_will_do(end: str) -> None:
    lines = ["\ufeff# -*- coding: latin-1 -*-", "a==1 \\", f"  --hash=sha256:{A}", "b", "c é"]
    assert refused(end.join(lines)) == "requirements.txt:5:1: `c é` is not a requirement"
    assert [str(wanted) for wanted in read(end.join(lines[:-1])).layer.pypi] == ["a==1", "b"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not a requirement", "requirements.txt:1:1: `not a requirement` is not a requirement"),
        ("-e a", "requirements.txt:1:1: there is no folder `/flows/a`"),
        ("-e", "requirements.txt:1:1: `-e` names no folder and no address"),
        ("-e https://h.example.org/a-1.zip#egg=a", "requirements.txt:1:1: `https://h.example.org/a-1.zip#egg=a` cannot be editable"),
        ("a @", "requirements.txt:1:1: `a @` names no folder and no address"),
        ("./x.whl", "requirements.txt:1:1: `./x.whl` does not tell which project it is"),
        ("git+git@h.example.org:team/a.git#egg=a", "requirements.txt:1:1: `git+git@h.example.org:team/a.git#egg=a` is not an address"),
        ("hg+https://h.example.org/a#egg=a", "requirements.txt:1:1: `hg+https://h.example.org/a#egg=a` is in a repository of another kind than git"),
        ("file://other/a#egg=a", "requirements.txt:1:1: `file://other/a` is not a path on this machine"),
        ("~no-such-user/a", "requirements.txt:1:1: `~no-such-user/a` is not a path on this machine"),
        ("./a\0", "requirements.txt:1:1: `./a\0` is not a path on this machine"),
        ("a==1 --pre", "requirements.txt:1:1: `--pre` cannot stand behind a requirement"),
        ("--pre a==1", "requirements.txt:1:1: `a==1` stands behind an option, and belongs to none"),
        ("--hash=sha256:1", "requirements.txt:1:1: the option `--hash` cannot stand here"),
        ("--pre -e ./a", "requirements.txt:1:1: the option `--editable` cannot stand here"),
        ("a==1 -r x.txt", "requirements.txt:1:1: `--requirement` cannot stand behind a requirement"),
        ("a==1 --config-settings x=y", "requirements.txt:1:1: `--config-settings` cannot be passed on to the build of a wheel"),
        ("a==1 --global-option=x", "requirements.txt:1:1: `--global-option` cannot be passed on to the build of a wheel"),
        ("-i", "requirements.txt:1:1: the option `-i` needs a value"),
        ("-i 'x", "requirements.txt:1:1: the option `-i` needs a value"),
        ("--pre=1", "requirements.txt:1:1: the option `--pre` takes no value"),
        ("--sys-pkg __cuda>=11", "requirements.txt:1:1: `__cuda>=11` is a range, but a machine has one version of it"),
        ("python[x]", "requirements.txt:1:1: a Python cannot have extras: `python[x]`"),
        (f"python --hash=sha256:{A}", "requirements.txt:1:1: a Python cannot have hashes: `python`"),
        ("-r \0", "requirements.txt:1:1: `\0` is not a path on this machine"),
        ("a\ud800", "requirements.txt:1:1: this is not text"),
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


@pytest.mark.parametrize(
    ("text", "files"),
    [("-r a.txt", {"a": "-r b.txt", "b": "-r a.txt"}), ("-r requirements.txt", {}), ("-c a.txt", {"a": "-c a.txt"})],
)
def test_a_file_that_includes_itself_is_refused(text: str, files: dict[str, str]) -> None:
    assert refused(text, **files).endswith("includes itself")


@pytest.mark.parametrize(
    "text",
    [
        "a" * 1_000_000,
        "[" * 1_000_000,
        "a" + " " * 1_000_000 + "b c",
        "./" + "a" * 5000,
        "a ; " + "(" * 4000,
        "--conda-pkg a ; " + "(" * 4000,
        "a @ https://" + "u:p@" * 2000 + "[",
        "${TOKEN}" * 2000,
        "-r " + "a" * 5000,
    ],
    ids=lambda text: text[:12],
)
def test_what_is_too_long_or_too_deep_ends_in_our_words(text: str) -> None:
    with pytest.raises(InvalidSpec, match=r"^requirements\.txt:1:1: "):
        load(text, shown="requirements.txt", folder=Path("/flows"), environment={"TOKEN": "s3cret"})


def test_as_many_hashes_as_a_project_has_files_are_read() -> None:
    digests = sorted(f"sha256:{number:064x}" for number in range(1000))
    (found,) = read("a==1 " + " ".join(f"--hash={digest}" for digest in digests)).layer.pypi
    assert found == Requirement(name="a", specifier="==1", hashes=tuple(digests))


def test_files_on_disk_are_utf_8(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"\xff\xfea\x00")
    (tmp_path / "b.txt").write_bytes(b"\xef\xbb\xbfb")
    with pytest.raises(InvalidSpec) as caught:
        load("-r a.txt", shown="r.txt", folder=tmp_path)
    assert caught.value.message == "r.txt:1:1: `a.txt` is not a text in UTF-8"
    assert [str(wanted) for wanted in load("-r b.txt", shown="r.txt", folder=tmp_path).layer.pypi] == ["b"]


_LINES = st.sampled_from(
    [
        "a==1",
        "-r x.txt",
        "-c",
        "-i",
        ";",
        "@",
        "[x]",
        "./a",
        "~",
        "file:",
        "git+https://h",
        "#egg=a",
        "'",
        "--conda-pkg",
        "--conda-channel",
        "--sys-pkg",
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


@given(st.sampled_from(sorted(path.name for path in SAMPLES.iterdir())), st.data())
def test_a_damaged_file_is_read_or_refused_line_by_line(name: str, data: st.DataObject) -> None:
    text = (SAMPLES / name).read_text()
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, min(start + 100, len(text))))
    damaged = text[:start] + data.draw(st.text(max_size=10)) + text[end:]
    try:
        read(damaged)
    except InvalidSpec as error:
        said = error.message.split("\n")
        assert [line for line in said if not line.startswith("requirements.txt:")] == []
