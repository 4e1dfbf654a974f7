"""Channels: their spellings, and that credentials stay out."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from mfenv.domain.channel import Channel, credentials_in, without_credentials
from mfenv.errors import InvalidSpec


@pytest.mark.parametrize(
    ("written", "location"),
    [
        ("conda-forge", "conda-forge"),
        (" conda-forge/ ", "conda-forge"),
        ("nvidia/label/cuda-12.4", "nvidia/label/cuda-12.4"),
        ("https://conda.example.org/team", "https://conda.example.org/team"),
        ("https://conda.example.org/team/", "https://conda.example.org/team"),
        ("HTTPS://Conda.Example.org/Team", "https://conda.example.org/Team"),
        ("https://me:secret@conda.example.org/team", "https://conda.example.org/team"),
        ("https://conda.example.org/t/tk-123/team", "https://conda.example.org/team"),
        ("https://conda.example.org/team?token=1#x", "https://conda.example.org/team"),
        ("https://conda.example.org:8443/team", "https://conda.example.org:8443/team"),
        ("s3://bucket/channel", "s3://bucket/channel"),
        ("oci://ghcr.example.org/channel", "oci://ghcr.example.org/channel"),
        ("file:///srv/channel", "file:///srv/channel"),
        ("file:///srv/channel/", "file:///srv/channel"),
        ("/srv/channel", "file:///srv/channel"),
        ("/srv/other/../channel/", "file:///srv/channel"),
        ("/srv/my channel", "file:///srv/my%20channel"),
    ],
)
def test_a_channel_has_one_location(written: str, location: str) -> None:
    channel = Channel.parse(written, where="here")
    assert channel == Channel(location=location)
    assert str(channel) == location
    assert Channel.parse(location, where="here") == channel


def test_a_relative_path_is_taken_from_the_given_folder(tmp_path: Path) -> None:
    assert Channel.parse("./c", where="here", relative_to=tmp_path) == Channel(location=(tmp_path / "c").as_uri())
    inner = tmp_path / "inner"
    assert Channel.parse("../c", where="here", relative_to=inner) == Channel(location=(tmp_path / "c").as_uri())


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Channel.parse("~/c", where="here") == Channel(location=(tmp_path / "c").as_uri())


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("", ""),
        ("two words", "two words"),
        ("ftp://host/channel", "ftp://host/channel"),
        ("https://", "https:"),
        ("ftp://me:secret@host/channel", "ftp://host/channel"),
        ("-c", "-c"),
        ("a\nb", "a\nb"),
    ],
)
def test_what_is_no_channel_is_refused_without_showing_secrets(written: str, shown: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        Channel.parse(written, where="step `s`, @conda(channels=[...])")
    assert caught.value.message == f"step `s`, @conda(channels=[...]): `{shown}` is neither a channel name nor a URL"
    assert caught.value.hint == "Use a name such as `conda-forge`, a full https URL, or the path of a local channel"


@pytest.mark.parametrize(
    ("location", "is_remote"),
    [("conda-forge", True), ("https://h/c", True), ("s3://b/c", True), ("file:///srv/c", False)],
)
def test_only_folders_are_not_remote(location: str, is_remote: bool) -> None:
    assert Channel(location=location).is_remote is is_remote


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://me:secret@host/t/tok-1/team", "https://host/team"),
        ("https://host/t/tok-1", "https://host"),
        ("https://host/team/t/not-a-token", "https://host/team/t/not-a-token"),
        ("https://host/team/x.conda?sig=abc", "https://host/team/x.conda"),
        ("https://a:b@c@host/x", "https://host/x"),
        ("conda-forge", "conda-forge"),
    ],
)
def test_a_url_without_credentials_is_the_address_alone(url: str, safe: str) -> None:
    assert without_credentials(url) == safe
    assert without_credentials(safe) == safe


@pytest.mark.parametrize(
    "written",
    ["https://me:secret@host/team", "https://host/t/secret/team", "https://host/team?token=secret"],
)
def test_credentials_are_kept_beside_the_channel_and_never_print(written: str) -> None:
    channel = Channel.parse(written, where="here")
    found = credentials_in(f" {written}/ " if "?" not in written else written, channel)
    assert found is not None
    assert found.secret_url == written
    assert "secret" not in f"{found} {found!r} {channel} {channel!r}"


@pytest.mark.parametrize("written", ["conda-forge", "https://host/team", "https://host/team/", "/srv/channel"])
def test_a_channel_without_credentials_has_none(written: str) -> None:
    assert credentials_in(written, Channel.parse(written, where="here")) is None


def test_a_channel_is_a_value() -> None:
    channel = Channel(location="conda-forge")
    assert pickle.loads(pickle.dumps(channel)) == channel
    assert len({channel, Channel(location="conda-forge"), Channel(location="other")}) == 2


@pytest.mark.parametrize(
    "written",
    [
        "http://[",
        "http://[::1/team",
        "https://host:99999999/team",
        "https://host:port/team",
        "~nobody-is-called-this/channel",
        "/srv/\0channel",
        "/srv/\ud800",
        "https://host/\ud800",
    ],
)
def test_what_no_library_can_take_apart_is_refused_in_our_words(written: str) -> None:
    with pytest.raises(InvalidSpec, match="is neither a channel name nor a URL"):
        Channel.parse(written, where="here")


def test_a_password_is_not_shown_of_what_cannot_be_taken_apart() -> None:
    with pytest.raises(InvalidSpec) as caught:
        Channel.parse("https://me:secret@[host/team", where="here")
    assert caught.value.message == "here: `[host/team` is neither a channel name nor a URL"
