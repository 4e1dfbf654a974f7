"""How uv is asked for its own lock, and what it says when it cannot print it (uv 0.13)."""

from __future__ import annotations

import pytest

from mfenv.formats import uv_lock

ALWAYS = [
    *("export", "--frozen", "--offline", "--no-config", "--no-python-downloads"),
    *("--no-header", "--format", "pylock.toml"),
]


@pytest.mark.parametrize(
    ("groups", "extras", "more"),
    [
        ((), (), ["--no-dev"]),
        (("docs",), ("plain",), ["--no-dev", "--group=docs", "--extra=plain"]),
        (("dev", "docs"), (), ["--group=dev", "--group=docs"]),
        (("--all-groups",), (), ["--no-dev", "--group=--all-groups"]),
    ],
)
def test_what_uv_is_told(groups: tuple[str, ...], extras: tuple[str, ...], more: list[str]) -> None:
    assert uv_lock.export_arguments(groups=groups, extras=extras) == [*ALWAYS, *more]


@pytest.mark.parametrize(
    ("said", "message", "hint", "output"),
    [
        (
            "error: Group `nope` is not defined in the project's `dependency-groups` table\n",
            "uv.lock: there is no group `nope`",
            "The groups and extras are those of the `pyproject.toml` beside it",
            "",
        ),
        (
            "error: Extra `nope` is not defined in the `optional-dependencies` table for `shop`\n",
            "uv.lock: there is no extra `nope`",
            "The groups and extras are those of the `pyproject.toml` beside it",
            "",
        ),
        (
            "error: The lockfile at `uv.lock` uses an unsupported schema version (v9, but only v1 is supported). Downgrade",
            "uv.lock: the version 9 of the format is not known to the uv that is installed here",
            "Update metaflow-netflix-extensions, or lock again with an older uv",
            "",
        ),
        (
            "warning: x\nerror: Failed to parse `uv.lock`\n  cause: at https://me:canary@h/x\nhint: y\n",
            "uv.lock: uv cannot read this lock",
            "Run `uv lock` and try again",
            "error: Failed to parse `uv.lock`\n  cause: at https://h/x",
        ),
    ],
)
def test_what_uv_says_is_told_in_our_words(said: str, message: str, hint: str, output: str) -> None:
    error = uv_lock.refusal(said, shown="uv.lock")
    assert (error.message, error.hint, error.output) == (message, hint, output)
