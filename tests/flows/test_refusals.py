"""What cannot be had is refused with one readable error that says where it was written and what to do.

Whole messages are compared; ids and the channel's folder are replaced, nothing else.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mfenv.testing.channel import ChannelServer, Credentials, Fault

if TYPE_CHECKING:
    from tests.conftest import Flows

ASKING = """
class Asking(FlowSpec):
    {decorator}
    @step
    def start(self):
        self.next(self.end)

    @conda(disabled=True)
    @step
    def end(self):
        pass
"""

_REPORT = "Nothing of it was installed; report it to whoever runs the channel, and ask for another version"
_UNREADABLE = "Check the spelling of the channel, that it can be reached from here, and your credentials for it"
_LOOSEN = "Loosen one of the versions named above"

# What was written, and the whole error; {pandas} are the channel's versions, newest first.
REFUSED = {
    "misspelt name": (
        '@conda(packages={"panda": "2.1.4"})',
        """
        Environment cannot be resolved:
        step `start`, @conda(packages={"panda": "2.1.4"}): there is no package `panda` for linux-64 on `<channel>/conda-forge`

        hint: Did you mean `pandas`?
        """,
    ),
    "version that does not exist": (
        '@conda(libraries={"pandas": "9.9"})',
        """
        Environment cannot be resolved:
        step `start`, @conda(libraries={"pandas": "9.9"}): no version of `pandas` for linux-64 is `==9.9`

        hint: There is `pandas` <versions>
        """,
    ),
    "two packages that quarrel": (
        '@conda(packages={"quarrel-left": "1.0", "quarrel-right": ""})',
        """
        Environment cannot be resolved:
        step `start`, @conda(packages={"quarrel-left": "1.0"}); step `start`, @conda(packages={"quarrel-right": ""}): what is asked for cannot be had together for linux-64

        | Cannot solve the request because of: The following packages are incompatible
        <tree>

        hint: Loosen one of the versions named above
        """,
    ),
    "dependency that no channel has": (
        '@conda(packages={"needs-missing": ""})',
        """
        Environment cannot be resolved:
        step `start`, @conda(packages={"needs-missing": ""}): what is asked for cannot be had together for linux-64

        | Cannot solve the request because of: needs-missing \N{ASTERISK OPERATOR} cannot be installed because there are no viable options:
        | └─ needs-missing 1.0 would require
        |    └─ this-package-does-not-exist >=1, for which no candidates were found.

        hint: Nothing on the channels matches `this-package-does-not-exist >=1`: add the channel that has it to `channels`, or ask for another version of what needs it
        """,
    ),
    "GPU": (
        '@conda(packages={"needs-cuda": ""})',
        """
        Environment cannot be resolved:
        step `start`, @conda(packages={"needs-cuda": ""}): what is asked for cannot be had together for linux-64

        | Cannot solve the request because of: needs-cuda \N{ASTERISK OPERATOR} cannot be installed because there are no viable options:
        | └─ needs-cuda 1.0 would require
        |    └─ __cuda >=12, for which no candidates were found.

        hint: A package needs a GPU (this target has no __cuda): ask for a build without CUDA, or set CONDA_OVERRIDE_CUDA
        """,
    ),
    "newer C library": (
        '@conda(packages={"needs-new-glibc": ""})',
        """
        Environment cannot be resolved:
        step `start`, @conda(packages={"needs-new-glibc": ""}): what is asked for cannot be had together for linux-64

        | Cannot solve the request because of: needs-new-glibc \N{ASTERISK OPERATOR} cannot be installed because there are no viable options:
        | └─ needs-new-glibc 1.0 would require
        |    └─ __glibc >=2.99, for which no candidates were found.

        hint: A package needs a newer C library (this target has __glibc 2.28): ask for an older version of it, or set CONDA_OVERRIDE_GLIBC if every machine that runs the step has a newer one
        """,
    ),
    "channel that is no folder": (
        '@conda(packages={"six": ""}, channels=["/nowhere/channel"])',
        """
        Environment cannot be resolved:
        step `start`, @conda(channels=["file:///nowhere/channel"]): `file:///nowhere/channel` is not a conda channel: it has no repodata for noarch

        | could not find subdir 'noarch' in channel 'file:///nowhere/channel/'
        | Caused by: failed to open file `/nowhere/channel/noarch/repodata.json`: No such file or directory (os error 2)

        hint: Check the spelling of the channel, that it can be reached from here, and your credentials for it
        """,
    ),
    "text that is no channel": (
        '@conda(channels=["not a channel"])',
        """
        Invalid environment:
        step `start`, @conda(channels=[...]): `not a channel` is neither a channel name nor a URL

        hint: Use a name such as `conda-forge`, a full https URL, or the path of a local channel
        """,
    ),
    "version that ends with a comma": (
        '@conda(packages={"numpy": "1.26,"})',
        """
        Invalid environment:
        step `start`, @conda(packages={"numpy": "1.26,"}): version `1.26,` ends with a comma

        hint: Write `1.26` for exactly that version or `>=1.26,<...` for a range
        """,
    ),
    "text that is no version": (
        '@conda(packages={"numpy": "latest!"})',
        """
        Invalid environment:
        step `start`, @conda(packages={"numpy": "latest!"}): version `latest!` is not a version or a comparison with one

        hint: Write `1.26` for exactly that version, `1.26.\N{ASTERISK OPERATOR}` for its patch releases, or `>=1.26,<2` for a range; an empty text takes any version
        """,
    ),
    "text that is no name": (
        '@conda(packages={"not a name": ""})',
        """
        Invalid environment:
        step `start`, @conda(packages={"not a name": ""}): `not a name` is not the name of a conda package

        hint: Write the name alone as the key and the version as its value: {"numpy": ">=1.26"}
        """,
    ),
    "Python too old for Metaflow": (
        '@conda(python="2.7")',
        """
        Invalid environment:
        step `start`, @conda(python="2.7"): Metaflow does not run on Python `2.7`

        hint: Ask for Python 3.7 or later, or leave `python` out for the launching one
        """,
    ),
    "Python that nobody has": (
        '@conda(python="3.99")',
        """
        Environment cannot be resolved:
        step `start`, @conda(python="3.99"): no version of `python` for linux-64 is `3.99.\N{ASTERISK OPERATOR}`

        hint: There is `python` <versions>
        """,
    ),
    "list in place of a dictionary": (
        '@conda(packages=["numpy"])',
        """
        Invalid environment:
        step `start`, @conda(packages=...): expected names with versions, found `['numpy']`

        hint: Write @conda(packages={"numpy": ">=1.26"})
        """,
    ),
    "neither true nor false": (
        '@conda(disabled="maybe")',
        """
        Invalid environment:
        step `start`, @conda(disabled='maybe'): expected True or False
        """,
    ),
    "file that was changed": (
        '@conda(packages={"tampered": ""}, channels=["<tampered>"])',
        """
        Environment cannot be created:
        step `start`: the package file `tampered-1.0-0.conda` is refused: its sha256 is <hex> where <hex> is locked

        hint: The file was changed after its channel was indexed, or on the way here: nothing of it was installed; tell whoever runs the channel
        """,
    ),
    "package that writes outside": (
        '@conda(packages={"escaping-paths": ""}, channels=["<hostile>"])',
        """
        Environment cannot be created:
        step `start`: the package `escaping-paths-1.0-0.conda` is refused: its path `../escaping-paths-1.0-0/share/escaping-paths.txt` leads out of the environment

        hint: Nothing of it was installed; report it to whoever runs the channel, and ask for another version
        """,
    ),
    "entry point that writes outside": (
        '@conda(packages={"escaping-entry-point": ""}, channels=["<hostile>"])',
        """
        Environment cannot be created:
        step `start`: the package `escaping-entry-point-1.0-0.conda` is refused: its entry point `../../escape = os:getcwd` has a path for a name

        hint: Nothing of it was installed; report it to whoever runs the channel, and ask for another version
        """,
    ),
    "post-link script that fails": (
        '@conda(packages={"postlink-fails": ""})',
        """
        Environment cannot be created:
        step `start`: the post-link script of `postlink-fails` 1.0 failed with exit code 3

        | this post-link script fails on purpose

        hint: Ask for another version of that package, or set METAFLOW_CONDA_LINK_SCRIPTS=false to do without such scripts
        """,
    ),
    "machine far away": (
        "@kubernetes\n    @conda(packages={'six': ''})",
        """
        Environment store:
        step `start` runs on another machine, which gets its environment from the store: it is not said where environments are shared with the datastore `s3`

        hint: Set METAFLOW_DATASTORE_SYSROOT_S3, or METAFLOW_CONDA_S3ROOT
        """,
    ),
}


def _shown(error: str, flows: Flows) -> str:
    """The error without what differs between machines: the channel's folder, its versions, the solver's tree."""
    error = error.replace(flows.channel.root.as_uri(), "<channel>")
    lines: list[str] = []
    for line in error.splitlines():
        name = next((name for name in ("pandas", "python") if line.startswith(f"hint: There is `{name}` ")), None)
        if name == "pandas":
            listed = ", ".join(reversed(flows.channel.pandas_versions()))
            line = line.replace(f"`pandas` {listed}", "`pandas` <versions>")
        elif name == "python":
            listed = ", ".join(reversed(flows.channel.pythons.values()))
            line = line.replace(f"`python` {listed}", "`python` <versions>")
        elif line.startswith(("| ├", "| │", "| └")) and "quarrel" in line:
            # The solver blames either of the two first.
            line = "<tree>"
        if not (line == "<tree>" and lines[-1] == "<tree>") and not (line.startswith("|  ") and lines[-1] == "<tree>"):
            lines.append(line)
    return "\n".join(lines)


@pytest.fixture
def asking(flows: Flows, monkeypatch: pytest.MonkeyPatch) -> Flows:
    # Packages come from the session's cache; what is built and left over is seen in folders of its own.
    own = flows.folder.parent / "local"
    own.mkdir()
    for cache in ("pkgs", "archives"):
        (flows.local_path / cache).mkdir(exist_ok=True)
        (own / cache).symlink_to(flows.local_path / cache)
    return flows.using(local_path=own)


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_had_is_refused_in_words(asking: Flows, what: str) -> None:
    decorator, expected = REFUSED[what]
    for name in ("tampered", "hostile"):
        decorator = decorator.replace(f"<{name}>", str(asking.channel.path(name)))

    # Steps on remote machines are allowed with a remote datastore only.
    store = ("--datastore=s3", "--datastore-root=s3://bucket/root") if what == "machine far away" else ()
    ran = asking.run(ASKING.format(decorator=decorator), before=store)

    assert _shown(ran.refused(), asking) == textwrap.dedent(expected).strip()
    assert asking.leftovers() == []
    assert not list((asking.local_path / "envs").glob("*")), "nothing that could be taken for an environment"
    outside = [*asking.local_path.glob("*/escap*"), *asking.local_path.glob("escap*"), *asking.folder.glob("escap*")]
    assert outside == []


def test_all_impossible_steps_are_heard_of_at_once(asking: Flows) -> None:
    flow = """
    @conda_base(packages={"requets": ""})
    class Many(FlowSpec):
        @conda(packages={"panda": ""})
        @step
        def start(self):
            self.next(self.end)

        @conda(packages={"numpy": "0.1"}, python="3.11")
        @step
        def end(self):
            pass
    """

    lines = asking.run(flow).refused().splitlines()

    text = "\n".join(lines)
    assert 'flow `Many`, @conda_base(packages={"requets": ""})' in text
    assert "there is no package `panda`" in text
    assert "no version of `numpy`" in text
    assert "Did you mean `requests`?" in text


def test_conda_without_its_environment_is_refused(asking: Flows) -> None:
    ran = asking.run(ASKING.format(decorator='@conda(packages={"six": ""})'), environment=None)

    assert ran.refused() == (
        "Incompatible environment:\n"
        "The @conda decorator asks for an environment, and this flow was started with --environment=local. "
        "Start it with --environment=conda."
    )


def test_server_that_is_not_there_is_named(asking: Flows) -> None:
    with ChannelServer(asking.channel.root) as server:
        port = server.port

    error = asking.run(
        ASKING.format(decorator=f'@conda(packages={{"six": ""}}, channels=["http://127.0.0.1:{port}/none"])')
    ).refused()

    place = f"http://127.0.0.1:{port}/none"
    assert error.startswith(
        "Environment cannot be resolved:\n"
        f'step `start`, @conda(channels=["{place}"]): the channel `{place}` cannot be read\n'
    )
    assert "Connection refused" in error
    assert error.endswith(f"hint: {_UNREADABLE}")


def test_server_that_denies_access_is_named_and_passwords_are_not(asking: Flows) -> None:
    """With the right password it works, and the password is nowhere on disk or in the output."""
    with ChannelServer(asking.channel.root, credentials=Credentials(user="me", password="s3cret-w0rd")) as server:
        url = server.channel_url("extra", with_credentials=True)
        decorator = '@conda(packages={{"only-extra": ""}}, channels=["{}"])'

        wrong = asking.run(ASKING.format(decorator=decorator.format(url.replace("s3cret-w0rd", "gue55ed"))))
        right = asking.run(ASKING.format(decorator=decorator.format(url)))

    assert f"the channel `{server.url}/extra` denies access" in wrong.refused()
    assert right.code == 0, right.text
    assert "s3cret-w0rd" not in right.text + wrong.text
    assert "gue55ed" not in right.text + wrong.text
    kept = [p for root in (asking.local_path, asking.folder / ".metaflow") for p in root.rglob("*")]
    holding = [p for p in kept if p.is_file() and b"s3cret-w0rd" in p.read_bytes()]
    # Metaflow keeps a copy of the user's own file. py-rattler 0.28 writes a channel's address into its cache
    # of indexes as it was given; that folder is nobody else's.
    assert [p for p in holding if p.relative_to(asking.folder.parent).parts[1] not in ("repodata", ".metaflow")] == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault(path="*/only-extra-*.conda", keep=100, times=1),
        Fault(path="*/only-extra-*.conda", status=503, times=1),
        Fault(path="*/repodata*", status=503, times=1),
    ],
    ids=["connection that breaks", "server that is busy", "index that is busy"],
)
def test_server_that_fails_once_is_asked_again(asking: Flows, tmp_path: Path, fault: Fault) -> None:
    cold = asking.using(local_path=tmp_path / "cold")
    with ChannelServer(asking.channel.root, faults=[fault]) as server:
        url = server.channel_url("extra")
        ran = cold.run(ASKING.format(decorator=f'@conda(packages={{"only-extra": ""}}, channels=["{url}"])'))

    assert ran.code == 0, ran.text


def test_server_that_sends_other_bytes_than_it_promised_is_refused(asking: Flows, tmp_path: Path) -> None:
    cold = asking.using(local_path=tmp_path / "cold")
    with ChannelServer(asking.channel.root, faults=[Fault(path="*/only-extra-*", corrupt=True)]) as server:
        url = server.channel_url("extra")
        flow = ASKING.format(decorator=f'@conda(packages={{"only-extra": ""}}, channels=["{url}"])')
        error = cold.run(flow).refused()
        server.clear_faults()
        again = cold.run(flow).succeeded()

    assert "the package file `only-extra-1.0-0.conda` is refused: its sha256 is <hex> where <hex> is locked" in error
    assert cold.leftovers() == []
    assert len(again.created) == 1


def test_local_folder_that_cannot_be_written_is_one_error(asking: Flows, tmp_path: Path) -> None:
    # A file where a folder should be stops everybody, the superuser too.
    blocked = tmp_path / "blocked"
    blocked.write_text("")

    error = (
        asking.using(local_path=blocked / "local")
        .run(ASKING.format(decorator='@conda(packages={"six": ""})'))
        .refused()
    )

    assert str(blocked) in error
    assert "METAFLOW_CONDA_LOCAL_PATH" in error


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("METAFLOW_CONDA_LOCK_TIMEOUT", "soon"),
        ("METAFLOW_CONDA_LINK_SCRIPTS", "perhaps"),
        ("METAFLOW_CONDA_SYS_DEFAULT_PACKAGES", "{not json"),
        ("METAFLOW_CONDA_CHANNELS", "a b"),
    ],
)
def test_setting_that_cannot_be_read_is_named(asking: Flows, name: str, value: str) -> None:
    error = asking.using(**{name: value}).run(ASKING.format(decorator="@conda")).refused()

    assert error.startswith(f"Invalid environment:\n{name}: `{value}` ")
