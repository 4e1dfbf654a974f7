"""Credentials are put into what is asked, and taken out of what is told."""

from __future__ import annotations

import base64

import pytest

from mfenv.io.secrets import git_environment, headers_for, tokens_in, with_credentials, with_token, without_secrets

SECRETS = {
    "https://host/team/simple": "https://me:p%40ss@host/team/simple",
    "https://host": "https://all:other-pass@host",
    "https://conda/chan": "https://conda/t/tk-12345/chan",
}


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://host/team/simple", "https://me:p%40ss@host/team/simple"),
        ("https://host/team/simple/a", "https://me:p%40ss@host/team/simple/a"),
        ("https://host/team/simpler", "https://all:other-pass@host/team/simpler"),
        ("https://host.evil/team", "https://host.evil/team"),
        ("https://hostile/a", "https://hostile/a"),
        ("http://host/a", "http://host/a"),
        ("https://own:pass@host/a", "https://own:pass@host/a"),
        ("https://conda/chan/noarch", "https://conda/t/tk-12345/chan/noarch"),
    ],
)
def test_credentials_go_where_they_belong_and_nowhere_else(url: str, expected: str) -> None:
    assert with_credentials(url, SECRETS) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("error at https://me:p%40ss@host/team/simple/a", "error at https://host/team/simple/a"),
        ("password p@ss, or p%40ss", "password ***, or ***"),
        ("https://nobody:knows@elsewhere/a", "https://elsewhere/a"),
        ("`git+https://token@h/r.git`", "`git+https://h/r.git`"),
        ("https://conda/t/tk-12345/chan", "https://conda/chan"),
        ("token tk-12345", "token ***"),
        (f"Authorization: {basic('all', 'other-pass')}", "Authorization: Basic ***"),
        ("me@example.org wrote to https://host/a", "me@example.org wrote to https://host/a"),
        ("a @ https://h/x.whl", "a @ https://h/x.whl"),
    ],
)
def test_nothing_that_is_told_holds_credentials(text: str, expected: str) -> None:
    assert without_secrets(text, SECRETS) == expected


def test_short_passwords_do_not_eat_other_words() -> None:
    assert without_secrets("an able word", {"https://h": "https://a:ab@h"}) == "an able word"


def test_git_is_told_by_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GIT_CONFIG_COUNT", raising=False)
    assert git_environment(SECRETS) == {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": "http.https://host/team/simple/.extraHeader",
        "GIT_CONFIG_VALUE_0": f"Authorization: {basic('me', 'p@ss')}",
        "GIT_CONFIG_KEY_1": "http.https://host/.extraHeader",
        "GIT_CONFIG_VALUE_1": f"Authorization: {basic('all', 'other-pass')}",
    }
    assert git_environment({}) == {}


def test_what_the_user_tells_git_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    assert git_environment({"https://h": "https://a:b@h"}) == {
        "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_1": "http.https://h/.extraHeader",
        "GIT_CONFIG_VALUE_1": f"Authorization: {basic('a', 'b')}",
    }


def test_headers_are_for_the_most_particular_place() -> None:
    headers = headers_for({**SECRETS, "https://host:8080/x": "https://x:y@host:8080/x"})
    assert headers("host", "/team/simple/a/") == {"Authorization": basic("me", "p@ss")}
    assert headers("host", "/team/simpler") == {"Authorization": basic("all", "other-pass")}
    assert headers("host", "/x") == {"Authorization": basic("x", "y")}
    assert headers("other", "/team/simple") is None
    assert headers("conda", "/chan") is None


def test_tokens_stand_in_paths_only() -> None:
    assert tokens_in(SECRETS.values()) == {"tk-12345"}
    assert with_token("https://conda/chan", SECRETS) == "https://conda/t/tk-12345/chan"
    assert with_token("https://host/team/simple", SECRETS) == "https://host/team/simple"
    assert with_token("https://h/c", {"https://h/c": "https://u:p@h/t/tok/c"}) == "https://h/t/tok/c"
