"""The metadata file of a project (``conda_v2.cnd``): what it resolved, and uses.

One line of JSON for each fact, sorted, so that a fact is found by bisection however many there are, and so that people
and version control can read, compare and merge the file (``merge=union``). A database such as SQLite would find as
quickly, but is neither read in a review nor merged, and does not do well on network file systems::

    {"schema":"mfenv/project/1","size":<bytes behind this line>}
    ["d/<request key>/<target>","<time>",{"lock":"<lock id>","platform":"linux-64","group":"","user":"ana"}]
    ["s/<digest of the store's location>/<lock id>","<time>",{"store":"s3://bucket/folder"}]
    ["a/<name>:<tag>","<time>",{...}]

Of several lines for the same thing the one with the latest time counts. A file whose ``size`` is not right was merged
or edited: it is read as a whole, and sorted by the next update. So is one in which something is not found and whose
lines are in another order. Lines that cannot be read say nothing, and hide nothing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import IO, Any, NoReturn

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
_FAMILY = "mfenv/project/"
_NEAR = 4096
"""Bytes that are read in one go rather than bisected further."""

_AHEAD = timedelta(days=1)
"""How far another machine's clock may be ahead of this one's."""
_PROBE = 1024
"""Bytes that a step of the bisection reads; a line of more is read in more."""

_SHORT = timedelta(hours=1)

Line = tuple[str, str, Mapping[str, Any]]
"""What a line is about, when it was written, and what it says."""

_Version = tuple[int, int, int, int]
"""What tells one content of a file from another: device, inode, time, size."""


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
        self._legacy: tuple[_Version | None, bool] = None, False
        self._in_order: _Version | None = None
        self._whole: tuple[_Version | None, Mapping[str, Line]] = None, {}

    @property
    def path(self) -> Path:
        """The file in use: beside one of the existing product, which has the same name, another name."""
        beside = self._path.with_name(f"{self._path.stem}.mfenv{self._path.suffix}")
        if os.path.exists(beside) or self._is_legacy():  # noqa: PTH110 (says False where others raise)
            return beside
        return self._path

    @property
    def is_beside_legacy(self) -> bool:
        """Whether a file of the existing product has this file's usual name."""
        return self.path != self._path

    def _is_legacy(self) -> bool:
        try:
            version = _version(self._path.stat())
        except OSError:
            return False
        known, answer = self._legacy
        if known != version:
            # Read once for each of its contents: it can have many megabytes.
            answer = _is_of_existing_product(self._path)
            self._legacy = version, answer
        return answer

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
        # What a wrong clock wrote in times to come says nothing of now.
        return since is None or stamp(since) <= line[1] <= stamp(max(datetime.now(timezone.utc), since) + _AHEAD)

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
        """Give a name a meaning in this project alone; one that it has already is not written again."""
        known = self.alias(alias.ref)
        if known and (known.locks, known.requests) == (alias.locks, alias.requests):
            return
        self._update([(f"a/{alias.ref}", stamp(alias.time), alias_json.values(alias))])

    def forget_alias(self, ref: ByName) -> None:
        """Let a name have no meaning of its own in this project any more."""
        if self.alias(ref):
            self._update([(f"a/{ref}", _now(), {})])

    def merge(self, other: Path) -> int:
        """Take in the facts of another project's file; return how many are new here.

        Raises `StoreError` where there is none, and `LockError` for one of a later version.
        """
        source = ProjectIndex(other).path
        try:
            theirs = _latest_of(_read_all(source)[0])
        except OSError as error:
            raise StoreError(
                f"`{source}` cannot be read: {error.strerror or error}",
                hint="Give the metadata file of another project, such as `.metaflow/conda_v2.cnd`",
            ) from error
        ours = _latest_of(self._lines())
        lines = [line for key, line in theirs.items() if key not in ours or _order(line) > _order(ours[key])]
        self._update(lines, keeps_times=True)
        return len(lines)

    # ---------------------------------------------------------------- reading

    def _latest(self, key: str) -> Line | None:
        path = self.path
        try:
            with path.open("rb") as file:
                return self._look(file, path, key)
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return None
        except OSError as error:
            raise _unusable(path, error) from error

    def _look(self, file: IO[bytes], path: Path, key: str) -> Line | None:
        version = _version(os.fstat(file.fileno()))
        known, whole = self._whole
        if known == version:
            return whole.get(key)
        if (start := _sorted_from(file, path)) is not None:
            if found := _latest_of(_read(_bisect(file, start, f'["{key}",'.encode()), path)[0]).get(key):
                return found
            # The lines can have been put in another order, which leaves the size as it was.
            if version == self._in_order or _is_in_order(file, start):
                self._in_order = version
                return None
        file.seek(0)
        whole = _latest_of(_read(file, path)[0])
        self._whole = version, whole
        return whole.get(key)

    def _all(self, kind: str) -> Iterator[Line]:
        """Yield the latest line of everything that is of a kind."""
        yield from (line for key, line in _latest_of(self._lines()).items() if key.startswith(kind))

    def _lines(self) -> list[Line]:
        path = self.path
        try:
            return _read_all(path)[0]
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return []
        except OSError as error:
            raise _unusable(path, error) from error

    # ---------------------------------------------------------------- writing

    def _update(self, lines: Iterable[Line], *, keeps_times: bool = False) -> None:
        lines = list(lines)
        if not lines:
            return
        try:
            with held(self._path.with_name(f".{self._path.name}.lock"), timeout=self._timeout):
                # Asked only now: a file of the existing product can have come while this waited.
                path = self.path
                latest = _latest_of(_read_keeping_damage(path))
                for line in lines:
                    before = latest.get(line[0])
                    latest[line[0]] = line if before is None else _next(before, line, keeps_times=keeps_times)
                write_atomically(path, _dump(latest.values()), durable=True)
        except OSError as error:
            raise _unusable(self.path, error) from error
        except (LockError, StoreError):
            raise
        except EnvironmentsError as error:
            raise StoreError(f"`{self.path}` cannot be used: {error.message}", hint=_HINT) from error


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


def _next(before: Line, line: Line, *, keeps_times: bool) -> Line:
    """Return what is to be written where `before` is written."""
    if keeps_times:
        return max(before, line, key=_order)
    key, time, value = line
    if key.startswith("s/") and before[1] > stamp(_time(time) + _AHEAD):
        # `is_shared` does not believe such a time: a later one would be written again by every run.
        return line
    return key, max(time, _after(before[1])), value


def _after(time: str) -> str:
    """Return the moment after another one."""
    try:
        return stamp(_time(time) + timedelta(microseconds=1))
    except OverflowError:
        return ""


_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(\d{6})Z", re.ASCII)


def _time(text: str) -> datetime:
    """Read what `stamp` wrote. Raises `ValueError`."""
    found = _TIME.fullmatch(text)
    if not found:
        raise ValueError("this is no time")
    year, month, day, hour, minute, second, microsecond = map(int, found.groups())
    return datetime(year, month, day, hour, minute, second, microsecond, tzinfo=timezone.utc)


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


def _version(status: os.stat_result) -> _Version:
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def _sorted_from(file: IO[bytes], path: Path) -> int | None:
    """Return where the sorted lines of an opened file begin; None when it has to be read as a whole.

    Raises `LockError` for a file of a later version.
    """
    header = file.readline(_NEAR)
    try:
        fields = _decoded(header)
    except ValueError:
        return None
    match fields:
        case {"schema": str() as schema, **others} if schema.startswith(_FAMILY):
            if schema != SCHEMA:
                _refuse(path, schema)
            return len(header) if others.get("size") == file.seek(0, 2) - len(header) else None
    return None


def _refuse(path: Path, schema: str) -> NoReturn:
    raise LockError(
        f"{path}: the schema `{schema}` is not known here", hint="A later version wrote it: use that one, or a newer"
    )


def _is_in_order(file: IO[bytes], start: int) -> bool:
    file.seek(start)
    lines = file.read().splitlines()
    return lines == sorted(lines)


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


def _parse(text: bytes, path: Path) -> Line | None:
    """Read a line; None for one without a fact.

    Raises `LockError` for the first line of a later version, which merging can have put anywhere, and `ValueError` for
    what cannot be read.
    """
    if not text.strip():
        return None
    match _decoded(text):
        case [str() as key, str() as time, dict() as value] if _is_fact((key, time, value)):
            return key, time, value
        case {"schema": str() as schema} if schema.startswith(_FAMILY):
            if schema != SCHEMA:
                _refuse(path, schema)
            return None
    raise ValueError("this is no line of a metadata file")


def _is_fact(line: Line) -> bool:
    """Tell whether a line can be read; one of a kind that is not known here is kept."""
    key, time, value = line
    try:
        _time(time)
    except ValueError:
        return False
    match key[:2]:
        case "d/":
            return _default(line) is not None
        case "s/":
            return isinstance(value.get("store"), str)
        case "a/":
            return not value or _is_alias(line)
    return True


def _is_alias(line: Line) -> bool:
    try:
        return f"a/{alias_json.read(Fields(values=line[2], path=line[0])).ref}" == line[0]
    except alias_json.LaterVersionError:
        return True
    except LockError:
        return False


def _no_fraction(text: str) -> NoReturn:
    raise ValueError(f"{text} has no canonical spelling")


_DECODER = json.JSONDecoder(parse_float=_no_fraction, parse_constant=_no_fraction)
_DEEP = 50


def _decoded(text: bytes) -> Any:
    """Read the JSON of a line, which can be written again. Raises `ValueError`."""
    try:
        value = _DECODER.decode(text.decode())
        if rb"\u" in text or max(text.count(b"["), text.count(b"{")) > _DEEP:
            # Half a character, or a depth that somebody wrote by hand.
            canonical_json(value)
    except RecursionError as error:
        raise ValueError("this is too deep") from error
    return value


def _read(texts: Iterable[bytes], path: Path) -> tuple[list[Line], bool]:
    """Return the lines that can be read, and whether there are others. Raises `LockError`."""
    lines, is_damaged = [], False
    for text in texts:
        try:
            line = _parse(text, path)
        except ValueError:
            is_damaged = True
        else:
            if line:
                lines.append(line)
    return lines, is_damaged


def _read_all(path: Path) -> tuple[list[Line], bool]:
    with path.open("rb") as file:
        return _read(file, path)


def _read_keeping_damage(path: Path) -> list[Line]:
    """Read a whole file; of the first that is damaged a copy is kept, before it is written anew."""
    try:
        lines, is_damaged = _read_all(path)
    except FileNotFoundError:
        return []
    kept = path.with_name(f"{path.name}.damaged")
    if is_damaged and not kept.exists():
        with contextlib.suppress(OSError):
            shutil.copyfile(path, kept)
    return lines


def _latest_of(lines: Iterable[Line]) -> dict[str, Line]:
    latest: dict[str, Line] = {}
    for line in lines:
        before = latest.setdefault(line[0], line)
        if before is not line and _order(line) > _order(before):
            latest[line[0]] = line
    return latest


def _order(line: Line) -> tuple[str, bytes]:
    """Return what says which of two lines counts: of two of the same moment the same one, wherever they are."""
    return line[1], _text(line)


def _dump(lines: Iterable[Line]) -> bytes:
    body = b"".join(sorted(map(_text, lines)))
    header: dict[str, Json] = {"schema": SCHEMA, "size": len(body)}
    return canonical_json(header) + b"\n" + body


def _text(line: Line) -> bytes:
    return canonical_json(list(line)) + b"\n"  # type: ignore[arg-type]


def _is_of_existing_product(path: Path) -> bool:
    """Tell whether a file is the JSON document that the existing product keeps under this name (its version 1)."""
    try:
        with path.open("rb") as file:
            if _FAMILY.encode() in file.read(200):
                return False
            file.seek(0)
            document = json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(document, dict) and "version" in document and "schema" not in document
