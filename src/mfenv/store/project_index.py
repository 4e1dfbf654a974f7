"""The metadata file of a project (``conda_v2.cnd``): what it resolved, and uses.

One line of JSON for each fact, sorted, so that a fact is found by bisection however many there are, and so that people
and version control can read, compare and merge the file (``merge=union``). A database such as SQLite would find as
quickly, but is neither read in a review nor merged, and does not do well on network file systems::

    {"schema":"mfenv/project/1","size":<bytes behind this line>}
    ["d/<request key>/<target>","<time>",{"lock":"<lock id>","platform":"linux-64","group":"","user":"ana"}]
    ["s/<digest of the store's location>/<lock id>","<time>",{"store":"s3://bucket/folder"}]
    ["a/<name>:<tag>","<time>",{...}]

Of several lines for the same thing the one with the latest time counts. A file whose ``size`` is not right was merged
or edited: it is read as a whole, and sorted by the next update.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any

from mfenv.domain.alias import Alias
from mfenv.domain.digest import Json, LockId, RequestKey, canonical_json, identity, is_id
from mfenv.domain.platform import Platform, Target
from mfenv.domain.reference import ByName
from mfenv.errors import EnvironmentsError, LockError, StoreError
from mfenv.formats import alias_json
from mfenv.formats.fields import Fields
from mfenv.io.filelock import held
from mfenv.io.files import write_atomically
from mfenv.store.layout import stamp

SCHEMA = "mfenv/project/1"
_FAMILY = b"mfenv/project/"
_NEAR = 4096
"""Bytes that are read in one go rather than bisected further."""

_PROBE = 1024
"""Bytes that a step of the bisection reads; a line of more is read in more."""

_SHORT = timedelta(hours=1)

Line = tuple[str, str, Mapping[str, Any]]
"""What a line is about, when it was written, and what it says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Default:
    """The lock that a project uses for a request."""

    request: RequestKey
    target: str
    """The target's key."""
    platform: Platform
    lock: LockId
    group: str = ""
    """The id of the group of locks that were resolved together; empty without one."""
    user: str
    time: datetime
    is_chosen: bool = False
    """Whether somebody chose the lock, rather than resolved this very request."""


class ProjectIndex:
    """Finds and notes facts in the metadata file of a project. Called from any thread, in any number of processes."""

    def __init__(self, path: Path, *, timeout: float = 60) -> None:
        """Use the file at `path`, which is made by the first update; wait at most `timeout` seconds for others."""
        self._path = path
        self._timeout = timeout

    @property
    def path(self) -> Path:
        """The file in use: beside one of the existing product, which has the same name, another name."""
        beside = self._path.with_name(f"{self._path.stem}.mfenv{self._path.suffix}")
        if beside.exists() or _is_of_existing_product(self._path):
            return beside
        return self._path

    @property
    def is_beside_legacy(self) -> bool:
        """Whether a file of the existing product has this file's usual name."""
        return self.path != self._path

    # ---------------------------------------------------------------- facts

    def default(self, request: RequestKey, target: Target) -> Default | None:
        """Return the lock that is used for a request, or None."""
        line = self._latest(_default_key(request, target.key))
        return _default(line) if line else None

    def defaults(self) -> Iterator[Default]:
        """Yield the locks that are used for requests."""
        for line in self._all("d/"):
            if found := _default(line):
                yield found

    def set_defaults(self, found: Iterable[Default]) -> None:
        """Use other locks for requests. The last to say so has the last word, whatever the clocks say."""
        lines = []
        for one in found:
            before = self._latest(_default_key(one.request, one.target))
            was = _default(before) if before else None
            if was is None or (was.lock, was.group, was.is_chosen) != (one.lock, one.group, one.is_chosen):
                lines.append(_line_of(one))
        self._update(lines)

    def is_shared(self, lock: LockId, location: str, *, since: datetime | None = None) -> bool:
        """Tell whether the store at `location` is known to have a lock and all its packages.

        With `since`, only what was noted then or later counts: in the meantime, somebody may have cleared it away.
        """
        line = self._latest(_shared_key(lock, location))
        if line is None or line[2].get("store") != location:
            return False
        return since is None or line[1] >= stamp(since)

    def set_shared(self, locks: Iterable[LockId], location: str, now: datetime | None = None) -> None:
        """Note that the store at `location` has these locks and all their packages.

        What was noted a short time ago, compared with `now` (default: this machine's time), is not noted again.
        """
        now = now or datetime.now(timezone.utc)
        new = [lock for lock in locks if not self.is_shared(lock, location, since=now - _SHORT)]
        self._update([(_shared_key(lock, location), stamp(now), {"store": location}) for lock in new])

    def forget_shared(self, locks: Iterable[LockId], location: str) -> None:
        """Note that the store at `location` has not all of these locks, as was found out."""
        known = [lock for lock in locks if self.is_shared(lock, location)]
        self._update([(_shared_key(lock, location), _now(), {"store": ""}) for lock in known])

    def alias(self, ref: ByName) -> Alias | None:
        """Return what a name stands for in this project alone, or None."""
        line = self._latest(f"a/{ref}")
        return _alias(line) if line else None

    def aliases(self) -> Iterator[Alias]:
        """Yield the names of this project alone."""
        for line in self._all("a/"):
            if found := _alias(line):
                yield found

    def set_alias(self, alias: Alias) -> None:
        """Give a name a meaning in this project alone."""
        self._update([(f"a/{alias.ref}", stamp(alias.time), alias_json.values(alias))])

    def forget_alias(self, ref: ByName) -> None:
        """Let a name have no meaning of its own in this project any more."""
        if self.alias(ref):
            self._update([(f"a/{ref}", _now(), {})])

    def merge(self, other: Path) -> int:
        """Take in the facts of another project's file; return how many are new here. Raises `LockError`."""
        before = {line[0]: line for line in self._lines()}
        lines = [line for line in _read_all(other) if line[1] > before.get(line[0], ("", "", {}))[1]]
        self._update(lines, keeps_times=True)
        return len(lines)

    # ---------------------------------------------------------------- reading

    def _latest(self, key: str) -> Line | None:
        return max(self._found(key), key=lambda line: line[1], default=None)

    def _found(self, key: str) -> list[Line]:
        prefix = f'["{key}",'.encode()
        try:
            with self.path.open("rb") as file:
                if (start := _sorted_from(file, self.path)) is None:
                    return [line for line in _parsed(file) if line[0] == key]
                return list(_parsed(_bisect(file, start, prefix)))
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return []
        except OSError as error:
            raise _unusable(self.path, error) from error

    def _all(self, kind: str) -> Iterator[Line]:
        """Yield the latest line of everything that is of a kind."""
        latest: dict[str, Line] = {}
        for line in sorted(self._lines(), key=lambda line: line[1]):
            latest[line[0]] = line
        yield from (line for key, line in latest.items() if key.startswith(kind))

    def _lines(self) -> list[Line]:
        try:
            return _read_all(self.path)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return []

    # ---------------------------------------------------------------- writing

    def _update(self, lines: Iterable[Line], *, keeps_times: bool = False) -> None:
        lines = list(lines)
        if not lines:
            return
        path = self.path
        try:
            with held(path.with_name(f".{path.name}.lock"), timeout=self._timeout):
                latest = _latest_of(_read_keeping_damage(path))
                for key, time, value in lines:
                    before = latest.get(key)
                    later = time if keeps_times or before is None else max(time, _after(before[1]))
                    latest[key] = (key, later, value)
                write_atomically(path, _dump(latest.values()), durable=True)
        except OSError as error:
            raise _unusable(path, error) from error
        except (LockError, StoreError):
            raise
        except EnvironmentsError as error:
            raise StoreError(f"`{path}` cannot be used: {error.message}", hint=_HINT) from error


_HINT = "Check the disk and the rights on that folder, or set METAFLOW_DATASTORE_SYSROOT_LOCAL to another"


def _unusable(path: Path, error: OSError) -> StoreError:
    return StoreError(f"`{path}` cannot be used: {error.strerror or error}", hint=_HINT)


def _default_key(request: RequestKey, target: str) -> str:
    return f"d/{request}/{target}"


def _shared_key(lock: LockId, location: str) -> str:
    # A location can hold any character, which would have no place in the order of lines.
    return f"s/{identity('mfenv/location/1', location)[:16]}/{lock}"


def _now() -> str:
    return stamp(datetime.now(timezone.utc))


def _after(time: str) -> str:
    """Return the moment after another one."""
    try:
        return stamp(_time(time) + timedelta(microseconds=1))
    except (ValueError, OverflowError):
        return ""


def _time(text: str) -> datetime:
    return datetime.strptime(text, "%Y%m%dT%H%M%S%fZ").replace(tzinfo=timezone.utc)


def _line_of(default: Default) -> Line:
    value: dict[str, Json] = {
        "lock": default.lock,
        "platform": default.platform.value,
        "group": default.group,
        "user": default.user,
    }
    if default.is_chosen:
        value["chosen"] = True
    return _default_key(default.request, default.target), stamp(default.time), value


def _default(line: Line) -> Default | None:
    key, time, value = line
    _, _, rest = key.partition("/")
    request, _, target = rest.partition("/")
    try:
        lock, platform = value["lock"], Platform(value["platform"])
        when = _time(time)
    except (KeyError, ValueError):
        return None
    if not isinstance(lock, str) or not is_id(lock) or not is_id(request):
        return None
    return Default(
        request=RequestKey(request),
        target=target,
        platform=platform,
        lock=LockId(lock),
        group=str(value.get("group", "")),
        user=str(value.get("user", "")),
        time=when,
        is_chosen=value.get("chosen") is True,
    )


def _alias(line: Line) -> Alias | None:
    try:
        return alias_json.read(Fields(values=line[2], path=line[0]))
    except LockError:
        return None


# -------------------------------------------------------------------- the file


def _sorted_from(file: IO[bytes], path: Path) -> int | None:
    """Return where the sorted lines of an opened file begin; None when it has to be read as a whole, from its start.

    Raises `LockError` for a file of a later version.
    """
    header = file.readline(200)
    body = file.tell()
    try:
        schema, size = json.loads(header)["schema"], json.loads(header)["size"]
    except (ValueError, KeyError, TypeError):
        file.seek(0)
        return None
    if schema != SCHEMA:
        raise _later_version(path, schema)
    if size != file.seek(0, 2) - body:
        file.seek(0)
        return None
    return body


def _later_version(path: Path, schema: object) -> LockError:
    return LockError(
        f"{path}: the schema `{schema}` is not known here", hint="A later version wrote it: use that one, or a newer"
    )


def _bisect(file: IO[bytes], start: int, prefix: bytes) -> Iterator[bytes]:
    """Yield the lines that begin with `prefix`, of lines that are sorted from `start` to the file's end."""
    low, high = start, file.seek(0, 2)
    while high - low > _NEAR:
        middle = (low + high) // 2
        at, line = _line_from(file, middle)
        if at >= high or line >= prefix:
            high = middle
        else:
            low = at
    file.seek(low)
    for line in file:
        if line.startswith(prefix):
            yield line
        elif line > prefix:
            return


def _line_from(file: IO[bytes], place: int) -> tuple[int, bytes]:
    """Return the first line that begins at `place` or behind it, and where that is."""
    # One call of the system where a buffered file would fill its buffer twice.
    size, content = _PROBE, os.pread(file.fileno(), _PROBE, place - 1)
    while content.count(b"\n") < 2 and len(content) == size:
        size *= 4
        content = os.pread(file.fileno(), size, place - 1)
    _, _, rest = content.partition(b"\n")
    line, _, _ = rest.partition(b"\n")
    return place - 1 + len(content) - len(rest), line


def _parsed(lines: Iterable[bytes]) -> Iterator[Line]:
    """Yield the lines that can be read."""
    for text in lines:
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            continue
        match line:
            case [str() as key, str() as time, dict() as value]:
                yield key, time, value


def _read_all(path: Path) -> list[Line]:
    """Read a whole file. Raises `LockError` for one of a later version, and `OSError`."""
    with path.open("rb") as file:
        _sorted_from(file, path)
        file.seek(0)
        return list(_parsed(file))


def _read_keeping_damage(path: Path) -> list[Line]:
    """Read a whole file; of a damaged one a copy is kept, before it is written anew."""
    try:
        lines = _read_all(path)
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    # Each line is one fact, but for the first, or the first of each file that was merged.
    others = [line for line in content.splitlines() if line.strip() and not line.startswith(b'{"schema"')]
    kept = path.with_name(f"{path.name}.damaged")
    if len(lines) != len(others) and not kept.exists():
        with contextlib.suppress(OSError):
            shutil.copyfile(path, kept)
    return lines


def _latest_of(lines: Iterable[Line]) -> dict[str, Line]:
    return {line[0]: line for line in sorted(lines, key=lambda line: line[1])}


def _dump(lines: Iterable[Line]) -> bytes:
    texts = sorted(_text(line) for line in lines)
    body = b"".join(text for text in texts if text)
    header: dict[str, Json] = {"schema": SCHEMA, "size": len(body)}
    return canonical_json(header) + b"\n" + body


def _text(line: Line) -> bytes:
    try:
        return canonical_json(list(line)) + b"\n"  # type: ignore[arg-type]
    except (ValueError, RecursionError):
        # A fraction, or half a character, that somebody wrote by hand.
        return b""


def _is_of_existing_product(path: Path) -> bool:
    """Tell whether a file is the JSON document that the existing product keeps under this name (its version 1)."""
    try:
        with path.open("rb") as file:
            if _FAMILY in file.read(200):
                return False
            file.seek(0)
            document = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and "version" in document and "schema" not in document
