from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

import pytest

from mfenv.testing.channel import ChannelServer, Credentials, Fault
from mfenv.testing.channel.__main__ import main

if TYPE_CHECKING:
    from pathlib import Path

PATH = "/noarch/file.conda"
CONTENT = bytes(range(250)) * 4


def ask(
    server: ChannelServer, method: str = "GET", path: str = PATH, **headers: str
) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    try:
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read()
    finally:
        connection.close()


def test_a_file_is_served_whole(server: ChannelServer) -> None:
    status, headers, body = ask(server)
    assert (status, body) == (200, CONTENT)
    assert headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(
    ("wanted", "first", "last"),
    [("bytes=0-9", 0, 9), ("bytes=990-", 990, 999), ("bytes=-5", 995, 999), ("bytes=995-5000", 995, 999)],
)
def test_a_range_is_served(server: ChannelServer, wanted: str, first: int, last: int) -> None:
    status, headers, body = ask(server, Range=wanted)
    assert (status, body) == (206, CONTENT[first : last + 1])
    assert headers["Content-Range"] == f"bytes {first}-{last}/1000"


def test_a_range_beyond_the_end_is_refused(server: ChannelServer) -> None:
    status, headers, _ = ask(server, Range="bytes=1000-")
    assert (status, headers["Content-Range"]) == (416, "bytes */1000")


def test_a_known_file_is_not_sent_again(server: ChannelServer) -> None:
    _, headers, _ = ask(server)
    assert ask(server, If_None_Match=headers["ETag"])[0] == 304
    assert ask(server, If_None_Match='"other"')[0] == 200
    assert ask(server, If_Modified_Since=headers["Last-Modified"])[0] == 304


def test_head_sends_no_body(server: ChannelServer) -> None:
    status, headers, body = ask(server, "HEAD")
    assert (status, headers["Content-Length"], body) == (200, "1000", b"")


def test_connections_are_kept(server: ChannelServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    connection.request("GET", PATH)
    connection.getresponse().read()
    kept = connection.sock
    connection.request("GET", PATH)
    assert connection.getresponse().read() == CONTENT
    assert connection.sock is kept
    connection.close()


@pytest.mark.parametrize("path", ["/missing", "/../secret", "/%2e%2e/secret", "/noarch"])
def test_nothing_outside_the_folder_is_served(server: ChannelServer, folder: Path, path: str) -> None:
    (folder.parent / "secret").write_text("secret")
    assert ask(server, path=path)[0] == 404


def test_what_is_served_is_counted(server: ChannelServer) -> None:
    ask(server)
    ask(server, Range="bytes=0-9")
    ask(server, path="/missing")
    statistics = server.statistics()
    assert statistics.requests == 3
    assert statistics.paths == {PATH: 2, "/missing": 1}
    assert statistics.statuses == {200: 1, 206: 1, 404: 1}
    assert statistics.bytes_sent == 1010 + len(b"404\n")
    server.reset_statistics()
    assert server.statistics().requests == 0


def test_without_the_password_nothing_is_served(folder: Path) -> None:
    credentials = Credentials(user="user", password="p@ss")
    with ChannelServer(folder, credentials=credentials) as server:
        status, headers, _ = ask(server)
        assert (status, headers["WWW-Authenticate"]) == (401, 'Basic realm="channel"')
        assert ask(server, Authorization="Basic d3Jvbmc=")[0] == 401
        assert ask(server, Authorization=credentials.header)[0] == 200
        assert server.channel_url("c", with_credentials=True).startswith("http://user:p%40ss@127.0.0.1:")
        assert "p@ss" not in server.url


def test_a_fault_happens_as_often_as_told(server: ChannelServer) -> None:
    server.add_fault(Fault(path="*.conda", status=500, times=2))
    assert [ask(server)[0] for _ in range(3)] == [500, 500, 200]


def test_a_truncated_body_is_shorter_than_promised(server: ChannelServer) -> None:
    server.add_fault(Fault(path=PATH, keep=10))
    with pytest.raises(http.client.IncompleteRead) as raised:
        ask(server)
    assert raised.value.partial == CONTENT[:10]


def test_a_corrupted_body_is_as_long_as_promised(server: ChannelServer) -> None:
    server.add_fault(Fault(path=PATH, corrupt=True))
    _, _, body = ask(server)
    assert len(body) == len(CONTENT)
    assert body != CONTENT


def test_cleared_faults_do_not_happen(server: ChannelServer) -> None:
    server.add_fault(Fault(path="*", status=404))
    server.clear_faults()
    assert ask(server)[0] == 200


def test_a_stopped_server_answers_on_no_connection(folder: Path) -> None:
    with ChannelServer(folder) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", PATH)
        connection.getresponse().read()
    # A new connection would be refused; this is about the one that was kept.
    connection.auto_open = 0

    def ask_again() -> None:
        connection.request("GET", PATH)
        connection.getresponse()

    with pytest.raises((http.client.HTTPException, ConnectionError)):
        ask_again()


def test_a_folder_that_is_not_there_is_not_served(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["serve", str(tmp_path / "missing")]) == 2
    assert capsys.readouterr().err == f"error: `{tmp_path / 'missing'}` is not a folder\n"


def test_the_command_serves_for_as_long_as_told(capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    assert main(["serve", str(folder), "--max-seconds", "0.1", "--user", "u", "--password", "p"]) == 0
    assert capsys.readouterr().out.startswith("http://127.0.0.1:")
