"""Every setting: what it may be, what it is without, and how a bad one is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mfenv.app.settings import Settings, read
from mfenv.domain.channel import Channel
from mfenv.domain.others import Others
from mfenv.domain.platform import Platform
from mfenv.domain.policy import Attestations
from mfenv.domain.spec import IndexStrategy
from mfenv.errors import InvalidSpec


def settings(environment: dict[str, str] | None = None, **set_: str) -> Settings:
    return read(set_.get, {"HOME": "/home/ana", **(environment or {})})


def test_the_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "linux")
    assert settings() == Settings(
        local_path=Path("/home/ana/.cache/mfenv"),
        store_root=None,
        s3_root=None,
        azure_root=None,
        gs_root=None,
        ignore_caching_datastores=(),
        packages_dirname="packages",
        envs_dirname="",
        magic_file="conda_v2.cnd",
        use_remote_latest=Others((":none:",)),
        preferred_format="none",
        legacy_root=None,
        remote_commands=("batch", "kubernetes"),
        node_path=None,
        channels=(Channel(location="conda-forge"),),
        channel_credentials=(),
        lock_timeout=3600.0,
        link_scripts=True,
        conda_resolver="rattler",
        conda_installer="rattler",
        pypi_resolver="uv",
        mixed_resolver="hybrid",
        default_index=None,
        indexes=(),
        index_secrets=(),
        find_links=(),
        uses_keyring=False,
        hosts={},
        index_strategy=IndexStrategy.FIRST_INDEX,
        exclude_newer="",
        allowed_channels=(),
        allowed_indexes=(),
        denied_packages=(),
        minimum_age="",
        attestations=Attestations.NONE,
        publishers=(),
        osv_databases=(),
        machine_indexes=(),
        gpu_packages={"__cuda": "12.8"},
        virtual_packages={platform: {} for platform in Platform},
    )


@pytest.mark.parametrize(
    ("platform", "xdg", "folder"),
    [
        ("linux", "/cache", "/cache/mfenv"),
        ("linux", "relative", "/home/ana/.cache/mfenv"),
        ("linux", "", "/home/ana/.cache/mfenv"),
        ("darwin", "/cache", "/home/ana/Library/Caches/mfenv"),
    ],
)
def test_the_cache_folder_is_where_the_system_wants_it(
    monkeypatch: pytest.MonkeyPatch, platform: str, xdg: str, folder: str
) -> None:
    monkeypatch.setattr("sys.platform", platform)
    assert settings({"XDG_CACHE_HOME": xdg}).local_path == Path(folder)


def test_folders_are_absolute_and_know_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/ana")
    found = settings(CONDA_LOCAL_PATH="~/envs", CONDA_LOCALROOT="locks")
    assert (found.local_path, found.store_root) == (Path("/home/ana/envs"), tmp_path / "locks")


@pytest.mark.parametrize(
    ("text", "names"),
    [("", ()), ("local", ("local",)), ("s3, gs", ("s3", "gs")), ('["azure"]', ("azure",)), ("{}", ())],
)
def test_datastores_to_ignore_are_a_list(text: str, names: tuple[str, ...]) -> None:
    assert settings(CONDA_IGNORE_CACHING_DATASTORES=text).ignore_caching_datastores == names


def test_folders_of_keys_can_be_named() -> None:
    found = settings(CONDA_PACKAGES_DIRNAME="/team/files/", CONDA_ENVS_DIRNAME="v2.envs", CONDA_MAGIC_FILE_V2="x.cnd")
    assert (found.packages_dirname, found.envs_dirname, found.magic_file) == ("team/files", "v2.envs", "x.cnd")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(
            (name, text)
            for name in ("CONDA_PACKAGES_DIRNAME", "CONDA_ENVS_DIRNAME")
            for text in ("../x", "a//b", "a b")
        ),
        *(("CONDA_MAGIC_FILE_V2", text) for text in ("a/b", "..", ".hidden")),
        *(("CONDA_USE_REMOTE_LATEST", text) for text in (":all:", ",", "ada,:any:")),
        ("CONDA_PREFERRED_FORMAT", "zip"),
    ],
)
def test_what_a_store_cannot_be_told_is_refused_by_name(name: str, text: str) -> None:
    with pytest.raises(InvalidSpec, match=rf"^METAFLOW_{name}: `{re.escape(text)}`"):
        settings(**{name: text})


@pytest.mark.parametrize(
    ("text", "counted"),
    [
        (":none:", []),
        ("", []),
        (":username:", ["me"]),
        (":any:", ["me", "ada", "grace", ""]),
        ("ada, grace", ["ada", "grace"]),
    ],
)
def test_whose_environments_count_is_said_in_four_ways(text: str, counted: list[str]) -> None:
    others = settings(CONDA_USE_REMOTE_LATEST=text).use_remote_latest
    assert [user for user in ("me", "ada", "grace", "") if others.count(user, me="me")] == counted
    assert others.is_nobody == (not counted)


def test_channels_are_a_list_and_their_credentials_are_kept_aside() -> None:
    found = settings(CONDA_CHANNELS="https://me:pw@host/team, conda-forge ,")
    assert found.channels == (Channel(location="https://host/team"), Channel(location="conda-forge"))
    assert [each.secret_url for each in found.channel_credentials] == ["https://me:pw@host/team"]
    assert "pw" not in repr(found)


@pytest.mark.parametrize(("text", "seconds"), [("0", 0.0), ("1.5", 1.5), ("90", 90.0), ("", 3600.0)])
def test_a_lock_timeout_is_a_number_of_seconds(text: str, seconds: float) -> None:
    assert settings(CONDA_LOCK_TIMEOUT=text).lock_timeout == seconds


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((text, True) for text in ("true", "1", "YES", " on ", "")),
        *((text, False) for text in ("false", "0", "No", "off")),
    ],
)
def test_link_scripts_can_be_turned_off(text: str, value: bool) -> None:
    assert settings(CONDA_LINK_SCRIPTS=text).link_scripts is value


def test_facts_of_a_platform_are_put_over_its_baseline_and_condas_variables_over_those() -> None:
    found = settings(
        {
            "CONDA_OVERRIDE_GLIBC": "2.35",
            "CONDA_OVERRIDE_CUDA": "12.4",
            "CONDA_OVERRIDE_OSX": "",
            "CONDA_OVERRIDE_ARCHSPEC": "1=zen4",
        },
        CONDA_SYS_DEFAULT_PACKAGES='{"linux-64": {"__glibc": "2.17", "__linux": "5.0"}, "osx-64": {"__osx": "12.0"}}',
    )
    linux = {"__glibc": "2.35", "__cuda": "12.4", "__archspec": "1=zen4"}
    assert found.virtual_packages == {
        Platform.LINUX_64: {**linux, "__linux": "5.0"},
        Platform.LINUX_AARCH64: linux,
        Platform.OSX_64: {"__osx": "", "__archspec": "1=zen4"},
        Platform.OSX_ARM64: {"__osx": "", "__archspec": "1=zen4"},
    }
    target = found.target(Platform.LINUX_64)
    assert [target.version_of(name) for name in ("__glibc", "__linux", "__cuda")] == ["2.35", "5.0", "12.4"]
    assert found.target(Platform.OSX_64).version_of("__osx") is None


_FORM = 'Set it to something like {"linux-64": {"__glibc": "2.28"}}'
_SECONDS = "Set it to a number of seconds, such as `3600`"


@pytest.mark.parametrize(
    ("name", "text", "message", "hint"),
    [
        ("CONDA_LOCK_TIMEOUT", "soon", "`soon` is not a number of seconds", _SECONDS),
        ("CONDA_LOCK_TIMEOUT", "-1", "`-1` is not a number of seconds", _SECONDS),
        ("CONDA_LOCK_TIMEOUT", "nan", "`nan` is not a number of seconds", _SECONDS),
        ("CONDA_LINK_SCRIPTS", "maybe", "`maybe` is neither true nor false", "Set it to `true` or `false`"),
        (
            "CONDA_CHANNELS",
            "conda-forge,not a channel",
            "`not a channel` is neither a channel name nor a URL",
            "Use a name such as `conda-forge`, a full https URL, or the path of a local channel",
        ),
        ("CONDA_SYS_DEFAULT_PACKAGES", "{", "`{` is not JSON of this form", _FORM),
        ("CONDA_SYS_DEFAULT_PACKAGES", "[]", "`[]` is not JSON of this form", _FORM),
        (
            "CONDA_SYS_DEFAULT_PACKAGES",
            '{"linux-64": "2.28"}',
            '`{"linux-64": "2.28"}` is not JSON of this form',
            _FORM,
        ),
        (
            "CONDA_SYS_DEFAULT_PACKAGES",
            '{"win-64": {}}',
            "`win-64` is not a platform",
            "Known platforms are `linux-64`, `linux-aarch64`, `osx-64`, `osx-arm64`",
        ),
        (
            "CONDA_SYS_DEFAULT_PACKAGES",
            '{"linux-64": {"glibc": "2.28"}}',
            "`glibc` is not a virtual package",
            "Virtual packages begin with `__`",
        ),
    ],
)
def test_a_bad_value_is_refused_with_the_settings_name_and_good_values(
    name: str, text: str, message: str, hint: str
) -> None:
    with pytest.raises(InvalidSpec) as caught:
        settings(**{name: text})
    assert (caught.value.message, caught.value.hint) == (f"METAFLOW_{name}: {message}", hint)


def test_values_of_a_configuration_file_are_taken_for_the_texts_that_mean_them() -> None:
    values = {
        "CONDA_LOCK_TIMEOUT": 20,
        "CONDA_LINK_SCRIPTS": False,
        "CONDA_SYS_DEFAULT_PACKAGES": {"linux-64": {"__glibc": "2.34"}},
    }
    found = read(values.get, {"HOME": "/home/ana"})  # type: ignore[arg-type]
    assert (found.lock_timeout, found.link_scripts) == (20.0, False)
    assert found.virtual_packages[Platform.LINUX_64] == {"__glibc": "2.34"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("CONDA_CHANNELS", {"a": 1}),
        ("CONDA_LINK_SCRIPTS", [True]),
        ("CONDA_LOCK_TIMEOUT", {"a": 1}),
        ("CONDA_SYS_DEFAULT_PACKAGES", [1]),
        ("CONDA_SYS_DEFAULT_PACKAGES", "[" * 100_000),
        ("CONDA_LOCAL_PATH", "~nobody-is-called-this/x"),
        ("CONDA_LOCALROOT", "~nobody-is-called-this/x"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_with_the_settings_name(name: str, value: object) -> None:
    with pytest.raises(InvalidSpec, match=f"^METAFLOW_{name}: "):
        read({name: value}.get, {"HOME": "/home/ana"})  # type: ignore[arg-type]
