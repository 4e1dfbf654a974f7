"""What runs before any package exists runs on any Python that an image may have, and needs nothing else."""

from __future__ import annotations

import ast
import base64
import hashlib
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from mfenv.metaflow.remote import program
from mfenv.testing.scripted_http import serving

SOURCE = Path(__file__).parents[3] / "src"
MODULES = sorted((SOURCE / "mfenv" / "bootstrap").glob("*.py"))
VENDORS = {"boto3", "azure", "google"}
"""What an image may have, and is asked where it does."""
RUN = "import base64,sys,zlib;exec(zlib.decompress(base64.b64decode(sys.argv.pop(1))))"
CONTENT = bytes(range(256)) * 4096
OTHERS = [
    path
    for version in ("3.8", "3.9", "3.10", "3.12", "3.13")
    for path in sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
]
PYTHONS = [Path(sys.executable), *OTHERS]
"""This one, and the others of this machine."""


def names(path: Path) -> str:
    return path.parent.parent.name if path in OTHERS else "this"


def imported(tree: ast.AST) -> set[str]:
    found = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    return found | {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}


def check(text: str) -> None:
    tree = ast.parse(text, feature_version=(3, 8))
    ours = {name for name in imported(tree) if name.split(".")[0] == "mfenv"}
    others = {name.split(".")[0] for name in imported(tree)} - {"mfenv"}
    assert others <= sys.stdlib_module_names | VENDORS
    assert {name for name in ours if not f"{name}.".startswith("mfenv.bootstrap.")} == set()


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_every_module_is_python_3_8_and_imports_what_is_there(path: Path) -> None:
    check(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("python", PYTHONS, ids=names)
def test_every_module_is_imported_by_every_python(python: Path) -> None:
    modules = ", ".join(f"mfenv.bootstrap.{path.stem}" for path in MODULES if path.stem != "__init__")
    code = f"import sys; sys.path.insert(0, {str(SOURCE)!r}); import {modules}"
    command = [str(python), "-I", "-S", "-B", "-W", "error", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("kind", ["s3", "azure", "gs"])
def test_the_program_that_travels_is_small_and_needs_nothing(kind: str) -> None:
    text = zlib.decompress(base64.b64decode(program(kind))).decode()
    check(text)
    (sources,) = [
        ast.literal_eval(node.func.value)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "items"
    ]
    for source in sources.values():
        check(source)
    assert len(program(kind)) < 10_000


@pytest.mark.parametrize("python", PYTHONS, ids=names)
def test_the_program_that_travels_fetches_an_object(python: Path, tmp_path: Path) -> None:
    with serving(lambda asked, number: asked.answer_part(CONTENT, cut=None if number else 300_000)) as (url, asked):
        done = fetch(python, url, str(tmp_path / "job.tar"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert hashlib.sha256((tmp_path / "job.tar").read_bytes()).digest() == hashlib.sha256(CONTENT).digest()
    assert [(one.path, one.start) for one in asked] == [("/bucket/a/key", 0), ("/bucket/a/key", 300_000)]


def test_the_program_that_travels_says_what_goes_wrong(tmp_path: Path) -> None:
    this = Path(sys.executable)
    with serving(lambda asked, _: asked.answer("<Code>NoSuchKey</Code>", 404)) as (url, _):
        missing = fetch(this, url, str(tmp_path / "job.tar"))
    with serving(lambda asked, _: asked.answer(CONTENT)) as (url, _):
        nowhere = fetch(this, url, str(tmp_path / "no" / "job.tar"))
        nobody = fetch(this, url, str(tmp_path / "job.tar"), AWS_ACCESS_KEY_ID="", AWS_EC2_METADATA_DISABLED="true")
    assert (missing.returncode, missing.stderr.splitlines()[0]) == (1, "`key` is not in s3://bucket/a (404 NoSuchKey)")
    assert (nowhere.returncode, nowhere.stderr) == (
        1,
        f"`{tmp_path}/no/job.tar` cannot be written: No such file or directory\n",
    )
    assert (nobody.returncode, nobody.stderr.splitlines()[0]) == (
        3,
        "nothing on this machine says who the task is to Amazon S3",
    )
    assert list(tmp_path.iterdir()) == []


def fetch(python: Path, url: str, file: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.defpath,
        "HOME": "/nowhere",
        "AWS_ACCESS_KEY_ID": "me",
        "AWS_SECRET_ACCESS_KEY": "verysecret",
        "METAFLOW_S3_ENDPOINT_URL": url,
        **variables,
    }
    command = [str(python), "-I", "-S", "-c", RUN, program("s3"), "s3", "s3://bucket/a/key", file]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
