"""What is read from @pypi and its relatives, and what of it Metaflow gets to keep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from mfenv.domain.index import IndexSecret, PackageIndex
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.python import PythonConstraint
from mfenv.domain.requirement import Requirement
from mfenv.domain.spec import Place, SpecLayer
from mfenv.errors import InvalidSpec
from mfenv.metaflow.requirements import Reader, forget_credentials, wants_gpu


@dataclass
class Written:
    name: str
    attributes: dict[str, Any] = field(default_factory=dict)


def pypi(**attributes: Any) -> Written:
    return Written("pypi", attributes)


READER = Reader(owner="step `s`", folder=Path("/there"))


def test_reads_all_that_a_step_says() -> None:
    decorator = pypi(
        packages={"Requests": ">=2.21", "lib": "./lib"},
        conda_only={"ffmpeg": "6"},
        extra_indices=["https://me:canary@h/simple", "./index"],
        python="3.11",
        exclude_newer="30 days",
    )
    assert READER.layer([decorator]) == SpecLayer(
        python=PythonConstraint.parse("3.11", where=""),
        pypi=(Requirement(name="requests", specifier=">=2.21"), Requirement(name="lib", url="file:///there/lib")),
        conda_only=(MatchSpec.parse("ffmpeg", "6", where=""),),
        indexes=(PackageIndex(url="https://h/simple"), PackageIndex(url="file:///there/index")),
        exclude_newer="30 days",
        places=(
            ("requests", Place(owner="step `s`", text='@pypi(packages={"Requests": ">=2.21"})')),
            ("lib", Place(owner="step `s`", text='@pypi(packages={"lib": "./lib"})')),
            ("ffmpeg", Place(owner="step `s`", text='@pypi(conda_only={"ffmpeg": "6"})')),
            ("python", Place(owner="step `s`", text='@pypi(python="3.11")')),
        ),
    )


def test_one_project_may_be_asked_for_under_two_markers() -> None:
    packages = {"a; python_version<'3.10'": "1", "a; python_version>='3.10'": "2"}
    assert READER.layer([pypi(packages=packages)]).pypi == (
        Requirement(name="a", specifier="==1", marker='python_version < "3.10"'),
        Requirement(name="a", specifier="==2", marker='python_version >= "3.10"'),
    )


def test_a_single_index_need_not_be_in_a_list() -> None:
    assert READER.layer([pypi(extra_indices="https://h/simple")]).indexes == (PackageIndex(url="https://h/simple"),)


@pytest.mark.parametrize(
    ("decorator", "message"),
    [
        (pypi(packages=["requests"]), "step `s`, @pypi(packages=...): expected names with versions, found `['requests']`"),
        (pypi(packages={"a": "latest"}), 'step `s`, @pypi(packages={"a": "latest"}): `a latest` is not a requirement'),
        (
            pypi(packages={"a": "@ https://me:ca@nary@h/a whl"}),
            'step `s`, @pypi(packages={"a": "@ https://h/a whl"}): `a @ https://h/a whl` is not a requirement',
        ),
        (pypi(extra_indices=["h/simple"]), "step `s`, @pypi(extra_indices=[...]): `h/simple` is not the address of a package index"),
        (pypi(exclude_newer="soon"), 'step `s`, @pypi(exclude_newer="soon"): `soon` is neither a date nor a time ago'),
        (pypi(conda_only={"a": "1,"}), 'step `s`, @pypi(conda_only={"a": "1,"}): version `1,` ends with a comma'),
        (Written("sys_packages", {"packages": {"glibc": "2"}}), 'step `s`, @sys_packages(packages={"glibc": "2"}): `glibc` is not a virtual package that can be set'),
        (Written("sys_packages", {"packages": {"__cuda": "new"}}), 'step `s`, @sys_packages(packages={"__cuda": "new"}): `new` is not a version'),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_where_it_was_written(decorator: Written, message: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        READER.layer([decorator])
    assert caught.value.message == message
    assert caught.value.hint
    assert "nary" not in caught.value.output


def test_finds_the_credentials_in_indexes_and_requirements() -> None:
    decorator = pypi(
        packages={"a": "@ https://me:one@h/a.whl", "b @ git+https://two@h/b.git": "", "c": "1"},
        extra_indices=["https://me:three@h/simple", "https://h/plain"],
    )
    assert list(READER.read([decorator, Written("conda", {"packages": {"a": "1"}})]).index_secrets) == [
        IndexSecret(index=PackageIndex(url="https://h/simple"), secret_url="https://me:three@h/simple"),
        IndexSecret(index=PackageIndex(url="https://h/a.whl"), secret_url="https://me:one@h/a.whl"),
        IndexSecret(index=PackageIndex(url="https://h/b.git"), secret_url="https://two@h/b.git"),
    ]


def test_metaflow_keeps_no_credentials_and_all_else() -> None:
    decorators = [
        pypi(
            packages={"a": "@ https://me:canary@h/a.whl", "b @ git+https://canary@h/b.git": "", "c": "1"},
            extra_indices=["https://me:canary@h/simple", "https://h/plain"],
            python="3.11",
        ),
        Written("conda_base", {"channels": ["https://h/t/canary/team", "conda-forge"], "libraries": {"numpy": "1"}}),
        Written("other", {"channels": ["https://me:theirs@h"]}),
    ]
    forget_credentials(decorators)
    assert [decorator.attributes for decorator in decorators] == [
        {
            "packages": {"a": "@ https://h/a.whl", "b @ git+https://h/b.git": "", "c": "1"},
            "extra_indices": ["https://h/simple", "https://h/plain"],
            "python": "3.11",
        },
        {"channels": ["https://h/team", "conda-forge"], "libraries": {"numpy": "1"}},
        {"channels": ["https://me:theirs@h"]},
    ]


@pytest.mark.parametrize(("gpu", "expected"), [(None, False), (0, False), ("0", False), ("", False), (1, True), ("2", True)])  # fmt: skip
def test_a_gpu_is_asked_for_with_a_number(gpu: object, expected: bool) -> None:
    assert wants_gpu([Written("resources", {"gpu": gpu})]) is expected
    assert not wants_gpu([Written("pypi", {"gpu": gpu})])


def test_metaflow_does_not_pass_settings_with_credentials_on(tmp_path: Path) -> None:
    """Metaflow writes the values that it knows of into the definitions of remote jobs."""
    program = "from metaflow.metaflow_config_funcs import config_values\nfrom metaflow import metaflow_config\nprint(list(config_values()))"
    settings = {
        "METAFLOW_CONDA_DEFAULT_PYPI_SOURCE": "https://me:canary@h/simple",
        "METAFLOW_CONDA_SRCS_AUTH_INFO": json.dumps({"h": ["me", "canary"]}),
        "METAFLOW_CONDA_CHANNELS": "https://me:canary@h/team",
        "METAFLOW_CONDA_EXCLUDE_NEWER": "30 days",
    }
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "USER": "tester", **settings}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True, timeout=60
    )
    assert "30 days" in done.stdout
    assert "canary" not in done.stdout + done.stderr
