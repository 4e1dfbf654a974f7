"""Backends of other packages: how they are chosen, and that each takes the place that it is for."""

from __future__ import annotations

import importlib.metadata
import re
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from mfenv.app import settings
from mfenv.app.backends import CONDA_RESOLVER, MIXED_RESOLVER, PYPI_RESOLVER, ROLES, Parts, Role
from mfenv.app.wiring import Wiring
from mfenv.errors import InvalidSpec, ToolNotFound
from mfenv.hydrate.conda import LinkedByAnother
from mfenv.resolve.by_kind import ByKind
from mfenv.resolve.extend import ExtendingResolver
from mfenv.resolve.hybrid import HybridResolver
from mfenv.testing.fakes import FakeResolver

SECRET = "https://user:pa55word@h.example.org/main"


def made(parts: Parts[Any]) -> Any:
    """A backend that can be told from others."""
    return FakeResolver() if parts.default() else None


def broken(parts: Parts[Any]) -> Any:
    raise ValueError(f"{next(iter(parts.secret_urls.values()))} does not answer")


@pytest.fixture
def brought(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """What other packages bring; here for every role."""
    found = [EntryPoint(name=name, value=f"{__name__}:{of}", group="") for name, of in (("Ours", "made"),)]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_group: found)
    return found


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.setting)
@pytest.mark.parametrize(
    ("text", "name"),
    [(None, ""), ("", ""), (" UPPER ", ""), ("Ours", "Ours"), (" Ours ", "Ours")],
)
def test_a_setting_chooses_ours_in_any_case_and_others_as_they_are_written(
    role: Role, text: str | None, name: str, brought: list[EntryPoint]
) -> None:
    assert brought
    text = text.replace("UPPER", role.own[0].upper()) if text else text
    assert role.choice(text) == (name or role.own[0])


@pytest.mark.parametrize(
    ("role", "text", "name"),
    [
        (PYPI_RESOLVER, "null", "none"),
        (MIXED_RESOLVER, "None", "none"),
        (CONDA_RESOLVER, "Mamba", "mamba"),
    ],
)
def test_some_names_mean_another(role: Role, text: str, name: str) -> None:
    assert role.choice(text) == name


def test_a_name_that_nobody_brings_is_refused_with_those_there_are(brought: list[EntryPoint]) -> None:
    assert brought
    with pytest.raises(InvalidSpec) as refused:
        PYPI_RESOLVER.choice("ours")
    assert refused.value.message == "METAFLOW_CONDA_PYPI_DEPENDENCY_RESOLVER: `ours` is not known"
    assert refused.value.hint == "Set it to `uv`, `pip`, `none` or `Ours`"


def test_a_name_that_two_packages_bring_is_refused(brought: list[EntryPoint]) -> None:
    brought.append(EntryPoint(name="Ours", value="another:made", group=""))
    parts = Parts[Any](default=FakeResolver, runner=None, cache=Path(), secret_urls={})
    with pytest.raises(ToolNotFound, match=re.escape(f"several packages bring `Ours`: `{__name__}:made` and `another")):
        CONDA_RESOLVER.make("Ours", parts)


def test_the_reason_why_one_cannot_be_made_holds_no_credentials(brought: list[EntryPoint]) -> None:
    brought[:] = [EntryPoint(name="Ours", value=f"{__name__}:broken", group="")]
    parts = Parts[Any](
        default=FakeResolver,
        runner=None,
        cache=Path(),
        secret_urls={"https://h.example.org/main": SECRET},
    )
    with pytest.raises(ToolNotFound) as refused:
        CONDA_RESOLVER.make("Ours", parts)
    assert refused.value.message.endswith("cannot be used: https://h.example.org/main does not answer")


def wired(tmp_path: Path, **values: str) -> Wiring:
    return Wiring(settings.read(values.get, {"HOME": str(tmp_path)}), project=tmp_path)


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.setting)
def test_one_that_is_chosen_takes_the_place_that_it_is_for_and_no_other(
    role: Role, brought: list[EntryPoint], tmp_path: Path
) -> None:
    assert brought
    wiring = wired(tmp_path, **{role.setting: "Ours"})
    resolver = wiring.resolver
    assert isinstance(resolver, ExtendingResolver)
    inner = resolver.inner
    installer = wiring.hydrator._installer
    places = {
        "CONDA_DEPENDENCY_RESOLVER": resolver.conda,
        "CONDA_PYPI_DEPENDENCY_RESOLVER": resolver.pypi,
        "CONDA_MIXED_DEPENDENCY_RESOLVER": inner.mixed if isinstance(inner, ByKind) else inner,
        "CONDA_INSTALLER": installer.linker if isinstance(installer, LinkedByAnother) else installer,
    }
    assert [setting for setting, one in places.items() if isinstance(one, FakeResolver)] == [role.setting]
    hybrid = inner.others if isinstance(inner, ByKind) else inner
    assert isinstance(hybrid, HybridResolver)
    assert (hybrid.conda, hybrid.pypi) == (resolver.conda, resolver.pypi)


def test_reading_settings_looks_for_nobody_as_long_as_ours_are_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "importlib.metadata", None)
    assert settings.read({"CONDA_DEPENDENCY_RESOLVER": "mamba"}.get, {"HOME": "/home/me"}).conda_resolver == "mamba"
