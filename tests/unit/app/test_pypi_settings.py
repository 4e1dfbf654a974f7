"""Package indexes and their credentials, as users have configured pip, uv and us."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from mfenv.app import pip_config, settings, uv_config
from mfenv.app.keyring import from_keyring
from mfenv.app.pip_config import PipConfig
from mfenv.app.settings import Settings
from mfenv.domain.index import IndexSecret, PackageIndex
from mfenv.domain.spec import IndexStrategy
from mfenv.errors import InvalidSpec, ToolNotFound
from mfenv.testing.pypi import ScriptedProcessRunner, ended

Write = Callable[[str, str], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write


def read(environment: Mapping[str, str] | None = None, **texts: str) -> Settings:
    return settings.read(texts.get, {"PIP_CONFIG_FILE": "/dev/null", "HOME": "/nowhere", **(environment or {})})


# -- pip


def test_the_more_particular_file_wins(write: Write) -> None:
    files = [
        write("global.conf", "[global]\nindex-url = https://a/simple\nextra-index-url = https://x/simple\n"),
        write("user.conf", "[global]\nindex-url = https://b/simple\n[install]\nindex-url = https://c/simple\n"),
    ]
    assert pip_config.read({}, files) == PipConfig(index_url="https://c/simple", extra_index_urls=("https://x/simple",))


def test_variables_win_over_files(write: Write) -> None:
    file = write("pip.conf", "[global]\nindex-url = https://a/simple\nfind-links = https://a/links\n")
    found = pip_config.read({"PIP_INDEX_URL": "https://b/simple", "PIP_FIND_LINKS": ""}, [file])
    assert found == PipConfig(index_url="https://b/simple")


def test_files_are_found_where_pip_looks(write: Write, tmp_path: Path) -> None:
    write("home/.pip/pip.conf", "[global]\nindex-url = https://legacy/simple\n")
    environment = {"HOME": str(tmp_path / "home")}
    assert pip_config.read(environment).index_url == "https://legacy/simple"
    write("home/.config/pip/pip.conf", "[global]\nindex-url = https://user/simple\n")
    assert pip_config.read(environment).index_url == "https://user/simple"
    write("xdg/pip/pip.conf", "[global]\nindex-url = https://xdg/simple\n")
    environment["XDG_CONFIG_HOME"] = str(tmp_path / "xdg")
    assert pip_config.read(environment).index_url == "https://xdg/simple"
    environment["PIP_CONFIG_FILE"] = str(write("chosen.conf", "[global]\nindex-url = https://chosen/simple\n"))
    assert pip_config.read(environment).index_url == "https://chosen/simple"
    assert pip_config.read({**environment, "PIP_CONFIG_FILE": "/dev/null"}) == PipConfig()


def test_local_folders_that_are_not_there_are_left_out(tmp_path: Path) -> None:
    places = f"{tmp_path} {tmp_path}/gone file://{tmp_path} file://{tmp_path}/gone https://h/links"
    found = pip_config.read({"PIP_FIND_LINKS": places, "PIP_EXTRA_INDEX_URL": places}, [])
    there = (str(tmp_path), f"file://{tmp_path}", "https://h/links")
    assert found == PipConfig(extra_index_urls=there, find_links=there)


@pytest.mark.parametrize("text", ["no section", "[global\n", "[global]\n[global]\n", "\x00\xff"])
def test_a_file_that_cannot_be_read_counts_as_empty(text: str, tmp_path: Path) -> None:
    file = tmp_path / "pip.conf"
    file.write_bytes(text.encode("latin-1"))
    assert pip_config.read({}, [file, tmp_path / "missing"]) == PipConfig()


def test_a_percent_sign_in_a_password_stays(write: Write) -> None:
    file = write("pip.conf", "[global]\nindex-url = https://me:a%40b@h/simple\n")
    assert pip_config.read({}, [file]).index_url == "https://me:a%40b@h/simple"


# -- uv


def secret(plain: str, whole: str) -> IndexSecret:
    return IndexSecret(index=PackageIndex(url=plain), secret_url=whole)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, ()),
        ({"UV_INDEX": "https://h/a https://me:one@h/b"}, (secret("https://h/b", "https://me:one@h/b"),)),
        ({"UV_INDEX": "named=https://me:one@h/b"}, (secret("https://h/b", "https://me:one@h/b"),)),
        ({"UV_DEFAULT_INDEX": "https://me:one@h/b/"}, (secret("https://h/b", "https://me:one@h/b"),)),
        ({"UV_INDEX_URL": "https://me:one@h/b"}, (secret("https://h/b", "https://me:one@h/b"),)),
        ({"UV_EXTRA_INDEX_URL": "https://t@h/a https://u@h/b"}, (secret("https://h/a", "https://t@h/a"), secret("https://h/b", "https://u@h/b"))),
        (
            {"UV_INDEX": "our-own.2=https://h/b", "UV_INDEX_OUR_OWN_2_USERNAME": "me", "UV_INDEX_OUR_OWN_2_PASSWORD": "p@/"},
            (secret("https://h/b", "https://me:p%40%2F@h/b"),),
        ),
        ({"UV_INDEX": "no index at all"}, ()),
    ],
)  # fmt: skip
def test_reads_credentials_in_uvs_variables(environment: dict[str, str], expected: tuple[IndexSecret, ...]) -> None:
    assert uv_config.index_secrets({"HOME": "/nowhere", **environment}) == expected


def test_reads_credentials_in_uvs_files(write: Write, tmp_path: Path) -> None:
    write(
        "home/.config/uv/uv.toml",
        """
        index-url = "https://me:one@h/a"
        extra-index-url = ["https://me:two@h/b"]
        [[index]]
        name = "c"
        url = "https://h/c"
        [pip]
        index-url = "https://me:four@h/d"
        keyring-provider = "subprocess"
        """,
    )
    home = {"HOME": str(tmp_path / "home")}
    environment = {**home, "UV_INDEX_C_PASSWORD": "three"}
    assert uv_config.index_secrets(environment) == (
        secret("https://h/a", "https://me:one@h/a"),
        secret("https://h/b", "https://me:two@h/b"),
        secret("https://h/d", "https://me:four@h/d"),
        secret("https://h/c", "https://:three@h/c"),
    )
    assert uv_config.uses_keyring(environment)
    assert not uv_config.uses_keyring({**environment, "UV_KEYRING_PROVIDER": "disabled"})
    assert uv_config.index_secrets({**environment, "UV_NO_CONFIG": "1"}) == ()
    chosen = write("chosen.toml", 'index-url = "https://me:five@h/e"')
    assert uv_config.index_secrets({**home, "UV_CONFIG_FILE": str(chosen)}) == (
        secret("https://h/e", "https://me:five@h/e"),
    )


@pytest.mark.parametrize("text", ["[[", "index = 3", "index = [3]", "pip = 3", "extra-index-url = 3", "index-url = 3"])
def test_a_uv_file_that_is_wrong_counts_as_empty(text: str, write: Write) -> None:
    environment = {"UV_CONFIG_FILE": str(write("uv.toml", text))}
    assert uv_config.index_secrets(environment) == ()
    assert not uv_config.uses_keyring(environment)


# -- keyring


ASKED = secret("https://h/simple", "https://me@h/simple")


def test_the_keyring_is_asked_for_the_index_and_then_for_its_host() -> None:
    runner = ScriptedProcessRunner([ended(1), ended(output="p@ss\n")])
    assert from_keyring(ASKED, runner) == secret("https://h/simple", "https://me:p%40ss@h/simple")
    assert [ran.command for ran in runner.runs] == [
        ["keyring", "get", "https://h/simple", "me"],
        ["keyring", "get", "h", "me"],
    ]


def test_without_an_answer_or_a_keyring_there_is_no_password() -> None:
    assert from_keyring(ASKED, ScriptedProcessRunner([ended(1), ended(1)])) == ASKED
    assert from_keyring(ASKED, ScriptedProcessRunner([ToolNotFound("none")])) == ASKED


def test_a_keyring_is_not_asked_for_what_is_known() -> None:
    known = secret("https://h/simple", "https://me:known@h/simple")
    assert from_keyring(known, ScriptedProcessRunner([])) == known


# -- ours


def test_without_any_configuration_uv_decides() -> None:
    found = read()
    assert (found.default_index, found.indexes, found.index_secrets, found.find_links) == (None, (), (), ())
    assert (found.pypi_resolver, found.mixed_resolver) == ("uv", "hybrid")
    assert (found.index_strategy, found.exclude_newer, found.hosts) == (IndexStrategy.FIRST_INDEX, "", {})


def test_our_setting_wins_over_pips_index() -> None:
    found = read(
        {"PIP_INDEX_URL": "https://pip/simple", "PIP_EXTRA_INDEX_URL": "https://me:extra@x/simple"},
        CONDA_DEFAULT_PYPI_SOURCE="https://me:ours@h/simple",
    )
    assert found.default_index == PackageIndex(url="https://h/simple")
    assert found.indexes == (PackageIndex(url="https://x/simple"),)
    assert found.index_secrets == (
        secret("https://h/simple", "https://me:ours@h/simple"),
        secret("https://x/simple", "https://me:extra@x/simple"),
    )


@pytest.mark.parametrize("name", ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"])
def test_who_tells_uv_does_not_mean_pip(name: str) -> None:
    found = read({"PIP_INDEX_URL": "https://pip/simple", name: "https://uv/simple"})
    assert (found.default_index, found.indexes) == (None, ())


def test_hosts_have_credentials_for_both_schemes() -> None:
    found = read(CONDA_SRCS_AUTH_INFO='{"host:8080": ["me", "p@ss"]}')
    assert found.secret_origins == {
        "https://host:8080": "https://me:p%40ss@host:8080",
        "http://host:8080": "http://me:p%40ss@host:8080",
    }


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("CONDA_PYPI_DEPENDENCY_RESOLVER", "pipx", "METAFLOW_CONDA_PYPI_DEPENDENCY_RESOLVER: `pipx` is not known"),
        ("CONDA_MIXED_DEPENDENCY_RESOLVER", "pixi", "METAFLOW_CONDA_MIXED_DEPENDENCY_RESOLVER: `pixi` is not known"),
        ("CONDA_PYPI_INDEX_STRATEGY", "best", "METAFLOW_CONDA_PYPI_INDEX_STRATEGY: `best` is not known"),
        ("CONDA_EXCLUDE_NEWER", "soon", "METAFLOW_CONDA_EXCLUDE_NEWER: `soon` is neither a date nor a time ago"),
        ("CONDA_DEFAULT_PYPI_SOURCE", "pypi", "METAFLOW_CONDA_DEFAULT_PYPI_SOURCE: `pypi` is not the address of a package index"),
        ("CONDA_DEFAULT_PYPI_SOURCE", "me:canary@h", "METAFLOW_CONDA_DEFAULT_PYPI_SOURCE: `h` is not the address of a package index"),
        ("CONDA_SRCS_AUTH_INFO", "canary", "METAFLOW_CONDA_SRCS_AUTH_INFO: this is not JSON of the form that is needed"),
        ("CONDA_SRCS_AUTH_INFO", '{"h": "canary"}', "METAFLOW_CONDA_SRCS_AUTH_INFO: this is not JSON of the form that is needed"),
        ("CONDA_SRCS_AUTH_INFO", '{"h": "ab"}', "METAFLOW_CONDA_SRCS_AUTH_INFO: this is not JSON of the form that is needed"),
        ("CONDA_SYS_DEFAULT_GPU_PACKAGES", "[]", "METAFLOW_CONDA_SYS_DEFAULT_GPU_PACKAGES: `[]` is not JSON of this form"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_by_name(name: str, text: str, message: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        read(None, **{name: text})
    assert caught.value.message == message
    assert caught.value.hint or name == "CONDA_EXCLUDE_NEWER"
    assert "canary" not in f"{caught.value.message}{caught.value.hint}{caught.value.output}"


@pytest.mark.parametrize("text", ["none", "NULL", " None "])
def test_resolvers_can_be_switched_off(text: str) -> None:
    found = read(CONDA_PYPI_DEPENDENCY_RESOLVER=text, CONDA_MIXED_DEPENDENCY_RESOLVER=text)
    assert (found.pypi_resolver, found.mixed_resolver) == ("none", "none")
