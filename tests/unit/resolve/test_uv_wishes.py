"""Options, constraints, hashes and bound indexes: what uv is told, and what the real uv makes of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mfenv.domain.flags import ResolverFlag
from mfenv.domain.index import PackageIndex
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.requirement import Requirement
from mfenv.domain.resolved import ResolvedPypiPackage
from mfenv.domain.spec import EnvironmentSpec, SolveOptions
from mfenv.errors import ResolutionFailed
from mfenv.formats.pylock_toml import tomllib
from mfenv.io.process import Completed, SystemProcessRunner
from mfenv.io.uv_surroundings import UvSurroundings, hidden_variables
from mfenv.resolve.backends import uv_bound
from mfenv.resolve.backends.uv import UvResolver, build_arguments, build_environment, compile_arguments
from mfenv.resolve.binaries import ALL, BinaryPolicy
from mfenv.resolve.pypi import OutOfReachError, Provided, PypiRequest, hashes_of
from mfenv.testing.index import IndexFolder
from mfenv.testing.pypi import Ran, ScriptedProcessRunner, ended
from mfenv.testing.wheels import MadeWheel

LINUX = baseline(Platform.LINUX_64, {})
NATIVE = "cp311-cp311-manylinux_2_17_x86_64"


def flags(*texts: str) -> tuple[ResolverFlag, ...]:
    return tuple(sorted(ResolverFlag.parse(text, where="here", relative_to=Path("/flow")) for text in texts))


def requirement(text: str, *, hashes: tuple[str, ...] = (), index: str = "") -> Requirement:
    return replace(Requirement.from_text(text, where="here"), hashes=hashes, index=index)


def asking(*wanted: str | Requirement, options: tuple[str, ...] = ()) -> PypiRequest:
    found = tuple(requirement(each) if isinstance(each, str) else each for each in wanted)
    return PypiRequest(requirements=found, python="3.11.7", target=LINUX, flags=flags(*options))


def spec(*options: str) -> ResolutionRequest:
    return ResolutionRequest(
        spec=EnvironmentSpec(python=None, conda=(), channels=(), flags=flags(*options)), target=LINUX
    )


# -- what uv is told


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ((), []),
        (("pre",), ["--prerelease", "allow"]),
        (("prerelease=if-necessary",), ["--prerelease", "if-necessary"]),
        (("resolution=lowest-direct",), ["--resolution", "lowest-direct"]),
        (("no-index",), ["--no-index"]),
        (("no-index", "resolution=lowest", "pre"), ["--no-index", "--prerelease", "allow", "--resolution", "lowest"]),
        (("find-links=./wheels", "trusted-host=index.example.org:8443", "no-binary=a"), []),
    ],
)
def test_options_become_arguments(options: tuple[str, ...], arguments: list[str]) -> None:
    bare = compile_arguments(asking("a"))
    assert compile_arguments(asking("a", options=options)) == [*bare, *arguments]


@pytest.mark.parametrize(
    ("options", "compiled", "built"),
    [
        ((), [], []),
        (("no-binary=b,a",), ["--no-binary", "a", "--no-binary", "b"], ["--no-binary-package", "a", "--no-binary-package", "b"]),
        (("only-binary=a",), ["--only-binary", "a"], ["--no-build-package", "a"]),
        (("only-binary=:all:", "no-binary=a"), ["--no-binary", "a", "--only-binary", ":all:"], ["--no-binary-package", "a", "--no-build"]),
        (("no-binary=:all:", "only-binary=a"), ["--no-binary", ":all:", "--only-binary", "a"], ["--no-build-package", "a"]),
        (("no-binary=:none:", "only-binary=:none:"), [], []),
        (("no-index", "pre", "resolution=lowest"), [], ["--no-index"]),
    ],
)  # fmt: skip
def test_builds_are_told_what_concerns_them(options: tuple[str, ...], compiled: list[str], built: list[str]) -> None:
    assert BinaryPolicy.of(flags(*options)).compile_arguments == compiled
    assert build_arguments(spec(*options)) == built


NAMES = st.sets(st.sampled_from(["a", "b", "c", ALL]))


@given(no=NAMES, only=NAMES, spared=st.sets(st.sampled_from(["a", "b", "c"])))
def test_stand_ins_may_always_be_wheels(no: set[str], only: set[str], spared: set[str]) -> None:
    """And everything else goes on being built or not, as it was."""
    policy = BinaryPolicy(no_binary=frozenset(no), only_binary=frozenset(only))
    sparing = policy.sparing(spared)
    assert not sparing.no_binary & spared
    assert ALL not in sparing.no_binary or spared <= sparing.only_binary
    assert sparing.no_binary | spared >= policy.no_binary
    assert sparing.only_binary - spared <= policy.only_binary


def told(request: PypiRequest, **others: object) -> tuple[Ran, dict[str, str]]:
    """Run the resolver with a uv that finds nothing; return what it was given, and its files by name."""
    files: dict[str, str] = {}

    def answer(ran: Ran) -> Completed:
        files.update({path.name: path.read_text() for path in ran.folder.iterdir() if path.suffix != ".whl"})
        (ran.folder / "pylock.toml").write_text('lock-version = "1.0"\n')
        return ended()

    runner = ScriptedProcessRunner([answer])
    UvResolver(runner, cache=Path("/cache"), **others).resolve(request)  # type: ignore[arg-type]
    return runner.runs[0], files


SECRETS = {
    "https://one.example.org/simple": "https://me:canary%2Fone@one.example.org/simple",
    "https://links.example.org": "https://me:canary-two@links.example.org",
}


def test_places_are_told_through_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_FIND_LINKS", "/users")
    monkeypatch.setenv("UV_INSECURE_HOST", "users.example.org")
    options = (
        *("find-links=https://links.example.org/a,b", "find-links=./wheels"),
        *("trusted-host=index.example.org:8443", "trusted-host=other.example.org"),
    )
    ran, _ = told(asking("a", options=options), secret_urls=SECRETS, find_links=["/pips"])
    assert "canary" not in " ".join(ran.command)
    assert {name: ran.environment[name] for name in ("UV_FIND_LINKS", "UV_INSECURE_HOST")} == {
        "UV_FIND_LINKS": "file:///flow/wheels,https://me:canary-two@links.example.org/a%2Cb,/pips,/users",
        "UV_INSECURE_HOST": "index.example.org:8443 other.example.org users.example.org",
    }
    assert build_environment(spec(*options), SECRETS, ["/pips"], UvSurroundings()) == {
        "UV_INDEX_STRATEGY": "first-index",
        **{name: ran.environment[name] for name in ("UV_FIND_LINKS", "UV_INSECURE_HOST")},
    }


def test_constraints_stand_behind_the_stubs() -> None:
    constraints = (requirement("b[extra]<2"), requirement("c @ git+https://example.org/c.git@main"))
    request = replace(asking("a", "b"), constraints=constraints)
    provided = (Provided(name="p", version="1.0", conda_name="p"),)
    ran, files = told(replace(request, provided=provided))
    assert files["constraints.txt"].splitlines() == [
        f"p @ {(ran.folder / 'p-1.0-py3-none-any.whl').as_uri()}",
        "b<2",
        "c @ git+https://example.org/c.git@main",
    ]
    assert files["requirements.in"] == "a\nb\n"
    assert ran.command[-3:] == ["-c", "constraints.txt", "requirements.in"]


ONE, TWO = "https://one.example.org/simple", "https://two.example.org/simple"


def test_what_is_bound_to_an_index_is_asked_for_in_a_project_file() -> None:
    bound = (
        requirement("b[x]>=1", index=ONE),
        requirement("c<2 ; python_version < '3.9'", index=ONE),
        requirement("c>=2 ; python_version >= '3.9'", index=TWO),
    )
    ran, files = told(asking("a", *bound), secret_urls=SECRETS)
    assert ran.command[-2:] == ["requirements.in", "pyproject.toml"]
    assert files["requirements.in"] == "a\n"
    assert tomllib.loads(files["pyproject.toml"]) == {
        "project": {
            "name": uv_bound.PROJECT,
            "version": "0",
            "dependencies": ["b[x]>=1", 'c<2 ; python_version < "3.9"', 'c>=2 ; python_version >= "3.9"'],
        },
        "tool": {
            "uv": {
                "index": [
                    {"name": "mfenv-bound-0", "url": ONE, "explicit": True},
                    {"name": "mfenv-bound-1", "url": TWO, "explicit": True},
                ],
                "sources": {
                    "b": [{"index": "mfenv-bound-0"}],
                    "c": [
                        {"index": "mfenv-bound-0", "marker": 'python_version < "3.9"'},
                        {"index": "mfenv-bound-1", "marker": 'python_version >= "3.9"'},
                    ],
                },
            }
        },
    }
    credentials = {name: value for name, value in ran.environment.items() if name.startswith("UV_INDEX_MFENV")}
    assert credentials == {"UV_INDEX_MFENV_BOUND_0_USERNAME": "me", "UV_INDEX_MFENV_BOUND_0_PASSWORD": "canary/one"}
    assert "canary" not in " ".join([*ran.command, *files.values()])


TEXTS = st.text(st.characters(exclude_categories=["Cs"]))


@given(path=TEXTS, marker=TEXTS)
def test_any_text_stays_itself_in_a_project_file(path: str, marker: str) -> None:
    wanted = Requirement(name="a", index=f"https://example.org/{path}", marker=marker)
    read = tomllib.loads(uv_bound.project_file([wanted]))
    assert read["project"]["dependencies"] == [str(wanted)]
    (source,) = read["tool"]["uv"]["sources"]["a"]
    assert source == {"index": "mfenv-bound-0", **({"marker": marker} if marker else {})}


def test_hashes_count_where_their_marker_holds() -> None:
    one, two, three = (f"sha256:{letter * 64}" for letter in "abc")
    request = asking(
        requirement("a==1 ; python_version < '3.9'", hashes=(one,)),
        requirement("a==2 ; python_version >= '3.9'", hashes=(two, three)),
        "b",
    )
    request = replace(request, constraints=(requirement("c==1", hashes=(one,)),))
    assert hashes_of(request) == {"a": frozenset({two, three}), "c": frozenset({one})}


# -- the user's own uv


def test_only_places_and_ways_to_reach_them_get_through() -> None:
    names = [
        *("UV_INDEX", "UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS", "UV_KEYRING_PROVIDER"),
        *("UV_INDEX_OUR_OWN_USERNAME", "UV_INDEX_OUR_OWN_PASSWORD", "UV_HTTP_TIMEOUT", "UV_SYSTEM_CERTS", "PATH"),
    ]
    hidden = [
        *("UV_CONSTRAINT", "UV_OVERRIDE", "UV_PRERELEASE", "UV_RESOLUTION", "UV_INDEX_STRATEGY", "UV_CONFIG_FILE"),
        *("UV_EXCLUDE_NEWER", "UV_LINK_MODE", "UV_NO_BINARY", "UV_PYTHON", "UV_WORKING_DIR", "UV_NO_BUILD_ISOLATION"),
    ]
    assert hidden_variables([*names, *hidden]) == dict.fromkeys(hidden)


def test_uv_sees_no_other_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_OVERRIDE", "/users/overrides.txt")
    ran, _ = told(asking("a"))
    assert "--no-config" in ran.command
    assert ran.environment["UV_OVERRIDE"] is None
    configured = UvSurroundings(config="offline = true\n", variables={"UV_INDEX_X_PASSWORD": "canary"})
    ran, files = told(asking("a"), surroundings=configured)
    assert files["mfenv-uv.toml"] == "offline = true\n"
    assert ran.command[ran.command.index("--config-file") + 1] == str(ran.folder / "mfenv-uv.toml")
    assert ran.environment["UV_INDEX_X_PASSWORD"] == "canary"
    ran, _ = told(asking("a"), surroundings=UvSurroundings(unreadable=Path("/home/uv.toml")))
    assert ran.command[ran.command.index("--config-file") + 1] == "/home/uv.toml"


# -- the real uv, with indexes that are folders


@pytest.fixture(autouse=True)
def nobodys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("UV_", "PIP_"))]:
        monkeypatch.delenv(name)


@pytest.fixture
def index(tmp_path: Path) -> IndexFolder:
    made = IndexFolder(tmp_path / "served")
    made.add(*(MadeWheel(name="tiny", version=version) for version in ("1.0", "2.0", "3.0a1")))
    made.add(MadeWheel(name="needy", needs=("tiny",)), MadeWheel(name="many"), MadeWheel(name="many", tags=NATIVE))
    made.add_sdists(MadeWheel(name="tiny", version="2.0"), MadeWheel(name="many"), MadeWheel(name="source-only"))
    return made


@pytest.fixture
def resolver(tmp_path: Path) -> UvResolver:
    return UvResolver(SystemProcessRunner(), cache=tmp_path / "cache")


@pytest.fixture
def of(index: IndexFolder) -> Callable[..., PypiRequest]:
    """A request for what is on the index."""

    def of(*wanted: str | Requirement, options: tuple[str, ...] = ()) -> PypiRequest:
        return replace(asking(*wanted, options=options), default_index=simple(index))

    return of


Of = Callable[..., PypiRequest]


def simple(index: IndexFolder) -> PackageIndex:
    return PackageIndex(url=(index.folder / "simple").as_uri())


def file_of(package: ResolvedPypiPackage) -> str:
    source = package.wheel.url if package.wheel else package.build.url if package.build else ""
    return source.rpartition("/")[2]


def files(found: tuple[ResolvedPypiPackage, ...]) -> list[str]:
    return [file_of(package) for package in found]


def digest(index: IndexFolder, name: str) -> str:
    return f"sha256:{hashlib.sha256((index.folder / 'files' / name).read_bytes()).hexdigest()}"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), ["tiny-2.0-py3-none-any.whl"]),
        (("pre",), ["tiny-3.0a1-py3-none-any.whl"]),
        (("resolution=lowest",), ["tiny-1.0-py3-none-any.whl"]),
        (("no-binary=tiny",), ["tiny-2.0.tar.gz"]),
        (("no-binary=:all:",), ["tiny-2.0.tar.gz"]),
        (("no-binary=:all:", "only-binary=tiny"), ["tiny-2.0-py3-none-any.whl"]),
    ],
)
def test_options_choose(of: Of, resolver: UvResolver, options: tuple[str, ...], expected: list[str]) -> None:
    assert files(resolver.resolve(of("tiny", options=options))) == expected


def test_a_constraint_holds_and_asks_for_nothing(of: Of, resolver: UvResolver) -> None:
    request = replace(of("needy"), constraints=(requirement("tiny<2"), requirement("many")))
    assert files(resolver.resolve(request)) == ["needy-1.0-py3-none-any.whl", "tiny-1.0-py3-none-any.whl"]


def test_without_indexes_there_are_the_links(of: Of, resolver: UvResolver, index: IndexFolder, tmp_path: Path) -> None:
    links = tmp_path / "a, b"
    links.mkdir()
    MadeWheel(name="tiny", version="1.5").write(links)
    options = ("no-index", f"find-links={links}")
    assert files(resolver.resolve(of("tiny", options=options))) == ["tiny-1.5-py3-none-any.whl"]
    with pytest.raises(ResolutionFailed) as caught:
        resolver.resolve(of("tiny", options=("no-index",)))
    assert caught.value.message == "there is no package `tiny` on the package index"


@pytest.mark.parametrize(
    ("options", "message", "hint"),
    [
        (
            ("only-binary=:all:",),
            "the PyPI packages cannot be had together for linux-64",
            "Wheels are required for `source-only` because building from source is disabled for all packages",
        ),
        (
            ("only-binary=source-only",),
            "the PyPI packages cannot be had together for linux-64",
            "Wheels are required for `source-only` because building from source is disabled for `source-only`",
        ),
    ],
)
def test_what_must_not_be_built_is_refused(
    of: Of, resolver: UvResolver, options: tuple[str, ...], message: str, hint: str
) -> None:
    with pytest.raises(ResolutionFailed) as caught:
        resolver.resolve(of("source-only", options=options))
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_a_folder_must_not_be_built_either(of: Of, resolver: UvResolver, tmp_path: Path) -> None:
    folder = MadeWheel(name="lib").write_source(tmp_path / "lib")
    wanted = f"lib @ {folder.as_uri()}"
    with pytest.raises(ResolutionFailed) as caught:
        resolver.resolve(of(wanted, options=("only-binary=:all:",)))
    assert caught.value.message == "`lib` has to be built, and `only-binary` says that it must not be"
    (found,) = resolver.resolve(of(wanted, options=("only-binary=:all:", "no-binary=lib")))
    assert found.build


def test_the_same_holds_for_what_pypi_would_prefer(of: Of, resolver: UvResolver) -> None:
    """Versions that conda could provide are wheels there, whatever must be built otherwise."""
    request = replace(
        of("needy", options=("pre", "no-binary=tiny")),
        constraints=(requirement("tiny<2.6"),),
        provided=(Provided(name="tiny", version="1.0", conda_name="tiny"),),
    )
    preferred = resolver.prefer(request, {"tiny": ["2.7", "2.5", "2.6a1"]})
    assert dict(preferred.versions) == {"needy": "1.0", "tiny": "2.5"}
    lowest = replace(request, flags=flags("resolution=lowest"))
    assert resolver.prefer(lowest, {"tiny": ["2.5", "1.0"]}).versions["tiny"] == "1.0"


def test_candidates_count_where_no_index_does(of: Of, resolver: UvResolver, index: IndexFolder) -> None:
    index.add(MadeWheel(name="modern", needs=("tiny>=5",)))
    options = ("no-index", f"find-links={index.folder / 'files'}")
    provided = (Provided(name="tiny", version="1.0", conda_name="tiny"),)
    request = replace(of("modern", options=options), provided=provided)
    assert resolver.prefer(request, {"tiny": ["9.0", "1.0"]}).versions["tiny"] == "9.0"


def test_what_conda_provides_has_no_date(of: Of, resolver: UvResolver, index: IndexFolder) -> None:
    provided = (Provided(name="beside", version="1.0", conda_name="beside"),)
    request = replace(of("beside"), provided=provided, options=SolveOptions(exclude_newer="2020-01-01"))
    assert resolver.prefer(request).versions == {"beside": "1.0"}
    assert resolver.prefer(request, {"beside": ["2.0", "1.0"]}).versions == {"beside": "1.0"}


# -- hashes


def test_the_best_wheel_is_one_of_those_with_a_hash(of: Of, resolver: UvResolver, index: IndexFolder) -> None:
    native, pure, source = f"many-1.0-{NATIVE}.whl", "many-1.0-py3-none-any.whl", "many-1.0.tar.gz"
    for allowed, expected in (
        ((), native),
        ((native, pure), native),
        ((pure,), pure),
        ((pure, source), pure),
        ((source,), source),
    ):
        wanted = requirement("many", hashes=tuple(digest(index, name) for name in allowed))
        (found,) = resolver.resolve(of(wanted))
        assert file_of(found) == expected
        sha256 = found.wheel.sha256 if found.wheel else found.build and found.build.sha256
        assert f"sha256:{sha256}" == digest(index, expected)


def test_no_file_with_a_hash_is_an_error(of: Of, resolver: UvResolver, index: IndexFolder) -> None:
    wanted = requirement("many==1.0", hashes=(digest(index, "tiny-1.0-py3-none-any.whl"),))
    with pytest.raises(ResolutionFailed) as caught:
        resolver.resolve(of(wanted))
    assert caught.value.message == "no file of `many` 1.0 for linux-64 has one of the given hashes"
    assert caught.value.packages == ("many",)


def test_the_source_with_a_hash_is_not_built_where_that_is_forbidden(
    of: Of, resolver: UvResolver, index: IndexFolder
) -> None:
    wanted = requirement("many", hashes=(digest(index, "many-1.0.tar.gz"),))
    with pytest.raises(ResolutionFailed, match=r"no file of `many` 1\.0 for linux-64 has one of the given hashes"):
        resolver.resolve(of(wanted, options=("only-binary=many",)))


def test_hashes_hold_where_the_index_tells_none(resolver: UvResolver, tmp_path: Path) -> None:
    index = IndexFolder(tmp_path / "served", "silent", has_digests=False)
    index.add(MadeWheel(name="many"), MadeWheel(name="many", tags=NATIVE))
    wanted = requirement("many", hashes=(digest(index, "many-1.0-py3-none-any.whl"),))
    (found,) = resolver.resolve(replace(asking(wanted), default_index=simple(index)))
    assert file_of(found) == "many-1.0-py3-none-any.whl"


def test_hashes_hold_for_an_address(of: Of, resolver: UvResolver, index: IndexFolder) -> None:
    name = "tiny-1.0-py3-none-any.whl"
    address = f"tiny @ {(index.folder / 'files' / name).as_uri()}"
    assert files(resolver.resolve(of(requirement(address, hashes=(digest(index, name),))))) == [name]
    with pytest.raises(ResolutionFailed, match=r"no file of `tiny` 1\.0 for linux-64 has one of the given hashes"):
        resolver.resolve(of(requirement(address, hashes=(f"sha256:{'0' * 64}",))))


# -- bound to an index


def test_a_requirement_comes_from_its_index_alone(of: Of, resolver: UvResolver, tmp_path: Path) -> None:
    other = IndexFolder(tmp_path / "served", "other").add(MadeWheel(name="tiny", version="0.5"))
    bound = requirement("tiny", index=simple(other).url)
    assert files(resolver.resolve(of("needy", bound))) == ["needy-1.0-py3-none-any.whl", "tiny-0.5-py3-none-any.whl"]
    with pytest.raises(ResolutionFailed) as caught:
        resolver.resolve(of(requirement("needy", index=simple(other).url)))
    assert caught.value.message == f"there is no package `needy` on the index `{simple(other).url}`"
    assert "you require needy" in caught.value.output
    assert uv_bound.PROJECT not in caught.value.explain()


def test_an_index_is_for_what_is_bound_to_it_alone(of: Of, resolver: UvResolver, tmp_path: Path) -> None:
    other = IndexFolder(tmp_path / "served", "other").add(MadeWheel(name="tiny", version="9"), MadeWheel(name="own"))
    found = resolver.resolve(of("needy", requirement("own", index=simple(other).url)))
    assert files(found) == ["needy-1.0-py3-none-any.whl", "own-1.0-py3-none-any.whl", "tiny-2.0-py3-none-any.whl"]


# -- the user's own uv, with the real one


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("UV_PRERELEASE", "allow"),
        ("UV_RESOLUTION", "lowest"),
        ("UV_CONSTRAINT", "{folder}/old.txt"),
        ("UV_OVERRIDE", "{folder}/old.txt"),
        ("UV_CONFIG_FILE", "{folder}/uv.toml"),
        ("UV_NO_BINARY", "1"),
        ("UV_WORKING_DIR", "{folder}"),
        ("UV_EXCLUDE_NEWER", "2001-01-01"),
        ("XDG_CONFIG_HOME", "{folder}/config"),
    ],
)
def test_the_launching_machine_does_not_choose(
    name: str, value: str, of: Of, resolver: UvResolver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "old.txt").write_text("tiny==1.0\n")
    (tmp_path / "config" / "uv").mkdir(parents=True)
    for path in ("uv.toml", "config/uv/uv.toml"):
        (tmp_path / path).write_text('prerelease = "allow"\n[pip]\nresolution = "lowest"\n')
    monkeypatch.setenv(name, value.format(folder=tmp_path))
    assert files(resolver.resolve(of("tiny"))) == ["tiny-2.0-py3-none-any.whl"]


# -- extras and failures


def test_an_extra_that_there_is_not_is_an_error(of: Of, resolver: UvResolver) -> None:
    with pytest.raises(ResolutionFailed) as caught:
        resolver.resolve(of("tiny[nosuch]", "needy"))
    assert caught.value.message == "`tiny` 2.0 has no extra `nosuch`"
    assert caught.value.packages == ("tiny",)


def test_extras_that_dependencies_ask_for_are_their_affair(of: Of, resolver: UvResolver, index: IndexFolder) -> None:
    index.add(MadeWheel(name="careless", needs=("tiny[nosuch]",)))
    assert files(resolver.resolve(of("careless"))) == ["careless-1.0-py3-none-any.whl", "tiny-2.0-py3-none-any.whl"]


def test_what_cannot_be_reached_is_told_apart(of: Of, resolver: UvResolver) -> None:
    nowhere = PackageIndex(url="http://127.0.0.1:9/simple")
    with pytest.raises(OutOfReachError, match="the package index cannot be used"):
        resolver.resolve(replace(of("tiny"), default_index=nowhere))
    with pytest.raises(ResolutionFailed) as caught:
        resolver.resolve(of("tiny>9"))
    assert not isinstance(caught.value, OutOfReachError)


def test_a_configuration_that_uv_cannot_read_is_shown(of: Of, tmp_path: Path) -> None:
    (tmp_path / "uv.toml").write_text("[[")
    surroundings = UvSurroundings(unreadable=tmp_path / "uv.toml")
    resolver = UvResolver(SystemProcessRunner(), cache=tmp_path / "cache", surroundings=surroundings)
    with pytest.raises(ResolutionFailed) as caught:
        resolver.resolve(of("tiny"))
    assert "uv.toml" in caught.value.output
    assert not isinstance(caught.value, OutOfReachError)
