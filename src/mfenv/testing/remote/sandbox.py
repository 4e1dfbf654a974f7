"""A container without a container engine: a command with a root, variables and a network of its own.

Its root is an empty folder in which the system's folders and the image are seen, read-only; everything else that is
there, the job has written. It has nothing of this machine's variables, and the loopback of `network` for a network.
Namespaces as of ``namespaces(7)``, made with util-linux's ``unshare`` and ``nsenter``.

A `Sandbox` is a folder, so that servers in other processes run their containers by the same settings:
``settings.json``, read for each container, and ``jobs/0001`` with what is known of the first one.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mfenv.testing.remote.network import tool

# What a small image has besides its Python: no git, no curl, no compiler, no other Python.
TOOLS = (
    "[ awk base64 basename bash cat chmod chown cp cut date dd df dirname du echo env expr false find grep gunzip "
    "gzip head hostname id ln ls md5sum mkdir mktemp mv nproc printenv ps pwd readlink realpath rm rmdir sed seq sh "
    "sha256sum sleep sort stat sync tail tar tee test timeout touch tr true tty uname uniq wc which whoami xargs"
)

_SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "etc")
_WRITABLE = ("job", "home", "tmp", "mnt", "mnt/out", "airflow", "airflow/xcom", "var", "var/tmp", "run")
_STEP = re.compile(r"\bstep (?P<step>\w+)\s+--run-id")


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """What a container has of its image: folders, seen where they are; the first has a ``bin`` with its Python."""

    folders: tuple[str, ...]
    variables: dict[str, str] = field(default_factory=dict)

    @property
    def prefix(self) -> Path:
        """The folder with its Python."""
        return Path(self.folders[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What all containers of a sandbox have in common."""

    enter: tuple[str, ...] = ()
    """Words that put a command into the containers' network."""
    images: dict[str, Image] = field(default_factory=dict)
    """By the name that jobs ask for; ``*`` is for all others."""
    variables: dict[str, str] = field(default_factory=dict)
    """Given to every container, as its role and its node would; ``{node}`` in one becomes the container's name."""
    volumes: dict[str, str] = field(default_factory=dict)
    """Files and folders of this machine that all containers see and may write, by the path inside."""
    user: int | None = None
    """The user and group that commands run as; None for root."""
    is_read_only: bool = False
    """Whether nothing can be written but the working folder, ``/tmp`` and volumes."""
    keeps_files: bool = False
    """Whether the files of containers that ended well stay."""

    def image(self, name: str) -> Image:
        """Return the image for a name that a job asks for."""
        return self.images.get(name) or self.images["*"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What is known of a container."""

    node: str
    name: str
    image: str
    command: tuple[str, ...]
    variables: dict[str, str]
    code: int | None
    """None while it runs; negative for the signal that ended it."""
    seconds: float
    reason: str
    """Why it was ended from outside; empty if it was not."""
    stdout: str
    stderr: str
    root: Path

    @property
    def step(self) -> str | None:
        """The step that its command runs; None if it runs none."""
        found = _STEP.search(" ".join(self.command))
        return found["step"] if found else None

    def tail(self, lines: int = 20) -> str:
        """Return the end of what it printed."""
        parts = [f"{self.name}: exit code {self.code} {self.reason}".strip()]
        parts += [line for text in (self.stdout, self.stderr) for line in text.splitlines()[-lines:]]
        return "\n".join(parts)


class Sandbox:
    """Runs containers by the settings in its folder."""

    def __init__(self, folder: Path) -> None:
        """Use `folder`, which may be new."""
        self.folder = folder
        (folder / "jobs").mkdir(parents=True, exist_ok=True)

    @property
    def settings(self) -> Settings:
        """The settings of containers that start from now on."""
        path = self.folder / "settings.json"
        if not path.exists():
            return Settings()
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        images = {
            name: Image(folders=tuple(image["folders"]), variables=image["variables"])
            for name, image in found.pop("images").items()
        }
        return Settings(images=images, enter=tuple(found.pop("enter")), **found)

    @settings.setter
    def settings(self, settings: Settings) -> None:
        new = self.folder / "settings.new"
        new.write_text(json.dumps(asdict(settings)), encoding="utf-8")
        new.replace(self.folder / "settings.json")

    def start(
        self, name: str, command: Iterable[str], variables: Mapping[str, str], *, image: str, seconds: float = 600
    ) -> Container:
        """Start a container, which is ended after `seconds`."""
        settings = self.settings
        number = len(list((self.folder / "jobs").iterdir())) + 1
        while True:
            folder = self.folder / "jobs" / f"{number:04}"
            try:
                folder.mkdir()
                break
            except FileExistsError:
                number += 1
        return Container(
            folder,
            name=name,
            command=tuple(command),
            variables=variables,
            image=image,
            settings=settings,
            limit=seconds,
        )

    def run(
        self, name: str, command: Iterable[str], variables: Mapping[str, str], *, image: str, seconds: float = 600
    ) -> Record:
        """Run a container to its end, and drop its files if it ended well."""
        container = self.start(name, command, variables, image=image, seconds=seconds)
        record = container.wait()
        container.clean()
        return record

    @property
    def records(self) -> list[Record]:
        """All containers so far, in the order of their starts."""
        return [record_in(path) for path in sorted((self.folder / "jobs").iterdir()) if (path / "spec.json").exists()]


def record_in(folder: Path) -> Record:
    """Read what is known of the container with this folder."""
    spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    end: dict[str, Any] = {"code": None, "seconds": 0.0, "reason": ""}
    if (folder / "end.json").exists():
        end = json.loads((folder / "end.json").read_text(encoding="utf-8"))
    return Record(
        node=folder.name,
        name=spec["name"],
        image=spec["image"],
        command=tuple(spec["command"]),
        variables=spec["variables"],
        **end,
        stdout=(folder / "stdout").read_text(encoding="utf-8", errors="replace"),
        stderr=(folder / "stderr").read_text(encoding="utf-8", errors="replace"),
        root=folder / "root",
    )


class Container:
    """A command that runs. Files that it writes at a path are at the same path below `root`, volumes excepted."""

    def __init__(
        self,
        folder: Path,
        *,
        name: str,
        command: tuple[str, ...],
        variables: Mapping[str, str],
        image: str,
        settings: Settings,
        limit: float,
    ) -> None:
        """Start it; `folder` is its own, and is there."""
        self.folder, self.root, self._settings = folder, folder / "root", settings
        self.started = time.monotonic()
        self._limit = limit
        chosen = settings.image(image)
        node = f"node-{folder.name}"
        own = {key: value.replace("{node}", node) for key, value in settings.variables.items()}
        full = {
            "PATH": f"{chosen.prefix}/bin:/tools",
            "HOME": "/home",
            "LANG": "C.UTF-8",
            "HOSTNAME": node,
            **chosen.variables,
            **own,
            **variables,
        }
        _furnish(self.root, settings)
        for stream in ("stdout", "stderr"):
            (folder / stream).touch()
        spec = {"name": name, "image": image, "command": command, "variables": full}
        (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
        script = _script(self.root, chosen, settings)
        unshare = [tool("unshare"), "--mount", "--pid", "--fork", "--kill-child", tool("sh"), "-c", script, "sh"]
        with (folder / "stdout").open("wb") as stdout, (folder / "stderr").open("wb") as stderr:
            self.process = subprocess.Popen(
                [*settings.enter, *unshare, *command],
                cwd=folder,
                env=full,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )

    def wait(self, *, is_stopped: Callable[[], bool] = lambda: False) -> Record:
        """Wait for its end; end it once it `is_stopped`, or when its time is over."""
        reason = ""
        while not reason:
            try:
                self.process.wait(timeout=0.1)
                break
            except subprocess.TimeoutExpired:
                if is_stopped():
                    reason = "stopped on request"
                elif time.monotonic() - self.started > self._limit:
                    reason = "ran past its time limit"
        self.kill()
        end = {"code": self.process.wait(), "seconds": time.monotonic() - self.started, "reason": reason}
        (self.folder / "end.json").write_text(json.dumps(end), encoding="utf-8")
        return record_in(self.folder)

    def kill(self) -> None:
        """End it and all that it started."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return

    def clean(self) -> None:
        """Drop the files of one that ended well; what is known of it stays."""
        if self.process.returncode == 0 and not self._settings.keeps_files:
            shutil.rmtree(self.root, ignore_errors=True)


def _furnish(root: Path, settings: Settings) -> None:
    """Make the folders of a root."""
    for name in (*_WRITABLE, "proc", "dev", "tools"):
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in _SYSTEM:
        there = Path("/", name)
        if there.is_symlink():
            (root / name).symlink_to(there.readlink())
        elif there.is_dir():
            (root / name).mkdir()
    for name in TOOLS.split():
        if found := shutil.which(name, path="/usr/bin:/bin"):
            (root / "tools" / name).symlink_to(found)
    for name in _WRITABLE:
        (root / name).chmod(0o1777)
    for name in ("job", "home"):
        if settings.user is not None:
            os.chown(root / name, settings.user, settings.user)


def _script(root: Path, image: Image, settings: Settings) -> str:
    """Return the shell script that shows things in the root and goes there."""
    # By their paths: the variables, and so the `PATH`, are the container's.
    mount, mkdir, touch, at = tool("mount"), tool("mkdir"), tool("touch"), str(root)
    lines = ["set -e", shlex.join([mount, "--bind", at, at])]

    def show(there: str, inside: str, *, is_writable: bool = False) -> None:
        target = at + inside
        if Path(there).is_dir():
            lines.append(shlex.join([mkdir, "-p", target]))
        else:
            lines.append(shlex.join([mkdir, "-p", str(Path(target).parent)]))
            lines.append(shlex.join([touch, target]))
        lines.append(shlex.join([mount, "--bind", there, target]))
        if not is_writable:
            lines.append(shlex.join([mount, "-o", "remount,bind,ro", target]))

    for name in _SYSTEM:
        if Path("/", name).is_dir() and not Path("/", name).is_symlink():
            show(f"/{name}", f"/{name}")
    lines.append(shlex.join([mount, "--rbind", "/dev", f"{at}/dev"]))
    lines.append(shlex.join([mount, "-t", "proc", "proc", f"{at}/proc"]))
    writable = ("job", "tmp", "mnt/out") if settings.is_read_only else ()
    for name in writable:
        show(f"{at}/{name}", f"/{name}", is_writable=True)
    for folder in image.folders:
        show(folder, folder)
    for inside, there in settings.volumes.items():
        show(there, inside, is_writable=True)
    if settings.is_read_only:
        lines.append(shlex.join([mount, "-o", "remount,bind,ro", at]))
    user = [] if settings.user is None else [f"--userspec={settings.user}:{settings.user}", "--groups="]
    # Begins in the working folder, with no trace of where this shell was.
    begin = 'cd /job && unset OLDPWD PWD && exec "$@"'
    lines.append(f'exec {shlex.join([tool("chroot"), *user, at, "/bin/sh", "-c", begin, "sh"])} "$@"')
    return "\n".join(lines)
