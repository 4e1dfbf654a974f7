"""Names of environments: how they are written, and what the variables in them stand for."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from mfenv.domain.digest import LockId, RequestKey, is_id
from mfenv.errors import InvalidSpec

MUTABLE_TAGS = frozenset({"latest", "candidate", "stable"})
"""Tags that can be moved to another environment; every other tag stays where it is."""

_NAME = re.compile(r"[a-z0-9_-]+(/[a-z0-9_-]+)*")
_TAG = re.compile(r"[a-z0-9_-][a-z0-9._-]*")
_PART = re.compile(r"[A-Za-z0-9_.@:=-]+")
_STEP = "step:"


@dataclass(frozen=True, slots=True, kw_only=True)
class ByName:
    """An environment that somebody gave a name and a tag."""

    name: str
    tag: str = "latest"

    @property
    def is_mutable(self) -> bool:
        """Whether the tag can be moved."""
        return self.tag in MUTABLE_TAGS

    def __str__(self) -> str:
        return f"{self.name}:{self.tag}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ByLock:
    """An environment by its id."""

    lock: LockId
    request: RequestKey | None = None

    def __str__(self) -> str:
        return f"{self.request}:{self.lock}" if self.request else self.lock


@dataclass(frozen=True, slots=True, kw_only=True)
class ByPathspec:
    """The environment that a step of a run had; `run` can be ``latest``, `task` is seldom needed."""

    flow: str
    run: str
    step: str
    task: str | None = None

    def __str__(self) -> str:
        return "/".join(part for part in (self.flow, self.run, self.step, self.task) if part)


EnvironmentRef = ByName | ByLock | ByPathspec

LEAST_DIGITS = 6
"""How many digits of an id people have to type at least."""

_DIGITS = re.compile(rf"[0-9a-f]{{{LEAST_DIGITS},40}}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Typed:
    """What a user typed on a command line, and what it may stand for, in the order in which it is looked up."""

    text: str
    candidates: tuple[EnvironmentRef, ...]
    digits: str = ""
    """The first digits of an id, where it may be that as well."""

    def __str__(self) -> str:
        return self.text


def parse_typed(text: str, *, where: str, is_pathspec: bool = False) -> Typed:
    """Read what names an environment on a command line, as written at `where`.

    Beside what `parse_reference` reads, that is ``Flow/Run/Step`` as it is, an id of a request and the first digits of
    an id. What can be a name is looked up as a name first. Raises `InvalidSpec`.
    """
    text = text.strip()
    if is_pathspec or text.startswith(_STEP):
        return Typed(text=text, candidates=(parse_pathspec(text, where=where),))
    digits = text if _DIGITS.fullmatch(text) else ""
    found: list[EnvironmentRef] = []
    try:
        found.append(parse_reference(text, where=where))
    except InvalidSpec as error:
        try:
            return Typed(text=text, candidates=(parse_pathspec(text, where=where),))
        except InvalidSpec:
            raise error from None
    if text.count("/") in {2, 3} and ":" not in text:
        found.append(parse_pathspec(text, where=where))
    return Typed(text=text, candidates=tuple(found), digits=digits)


def parse_reference(text: str, *, where: str) -> EnvironmentRef:
    """Read the name of an environment, as written at `where`.

    ``name``, ``name:tag``, a lock id, ``request id:lock id``, or ``step:Flow/Run/Step``. Names are lower-case letters,
    digits, ``-``, ``_`` and ``/``; tags can have dots but no ``/``. Raises `InvalidSpec`.
    """
    text = text.strip()
    if text.startswith(_STEP):
        return parse_pathspec(text.removeprefix(_STEP), where=where)
    name, colon, tag = text.partition(":")
    if is_id(name) and (is_id(tag) or not colon):
        return ByLock(lock=LockId(tag or name), request=RequestKey(name) if tag else None)
    if not _NAME.fullmatch(name):
        raise InvalidSpec(f"{where}: `{text}` is not the name of an environment", hint=_hint(text, name))
    if colon and not _TAG.fullmatch(tag):
        raise InvalidSpec(
            f"{where}: `{tag}` in `{text}` is not a tag",
            hint="A tag has lower-case letters, digits, `-`, `_` and `.`, as in `team/project/env:v1.2`",
        )
    return ByName(name=name, tag=tag) if colon else ByName(name=name)


def _hint(text: str, name: str) -> str:
    if re.fullmatch(r"[A-Za-z_]\w*/[^/]+/[^/]+(/[^/]+)?", text) and not name.islower():
        return f'For the environment of a step of a run, write `pathspec="{text}"`'
    return (
        "A name has lower-case letters, digits, `-`, `_`, and `/` between its parts, as in `team/project/env`; "
        "a tag may follow a colon"
    )


def parse_pathspec(text: str, *, where: str) -> ByPathspec:
    """Read ``Flow/Run/Step`` or ``Flow/Run/Step/Task``, as written at `where`. Raises `InvalidSpec`."""
    parts = text.strip().removeprefix(_STEP).split("/")
    if len(parts) not in {3, 4} or not all(map(_PART.fullmatch, parts)):
        raise InvalidSpec(
            f"{where}: `{text}` does not name a step of a run",
            hint="Write flow, run and step: `MyFlow/1234/train`, or `MyFlow/latest/train`",
        )
    return ByPathspec(flow=parts[0], run=parts[1], step=parts[2], task=parts[3] if len(parts) == 4 else None)


_VARIABLE = re.compile(r"@\{([^{}]*)\}")
_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LATE = frozenset({"METAFLOW_RUN_ID", "METAFLOW_RUN_ID_BASE", "METAFLOW_TASK_ID"})
_PARAMETER = "METAFLOW_INIT_"


def is_late(variable: str) -> bool:
    """Tell whether a variable is only known when a task starts: the run, the task, the values of parameters."""
    return variable in _LATE or variable.startswith(_PARAMETER)


def variable_of_parameter(name: str) -> str:
    """Return the variable that stands for a flow's parameter.

    >>> variable_of_parameter("learning-rate")
    'METAFLOW_INIT_LEARNING_RATE'
    """
    return f"{_PARAMETER}{name.upper().replace('-', '_')}"


def variables_in(text: str, *, where: str) -> tuple[str, ...]:
    """Return the variables (``@{NAME}``) in a name or pathspec, each once. Raises `InvalidSpec` for a broken one."""
    names = _VARIABLE.findall(text)
    bad = next((name for name in names if not _WORD.fullmatch(name)), None)
    if bad is not None:
        raise InvalidSpec(
            f"{where}: `@{{{bad}}}` in `{text}` is not a variable", hint="A variable is written `@{METAFLOW_RUN_ID}`"
        )
    if "@{" in _VARIABLE.sub("", text):
        raise InvalidSpec(f"{where}: a `@{{` in `{text}` has no `}}`", hint="Write `@{NAME}`")
    return tuple(dict.fromkeys(names))


def substitute(text: str, value_of: Callable[[str], str | None], *, where: str) -> str:
    """Put the values of its variables into a name or pathspec.

    `value_of` returns None for what it does not know. Raises `InvalidSpec` naming all of those.
    """
    values = {name: value_of(name) for name in variables_in(text, where=where)}
    if unknown := [name for name, value in values.items() if value is None]:
        named = ", ".join(f"`{name}`" for name in unknown)
        raise InvalidSpec(
            f"{where}: nothing is known of the {'variable' if len(unknown) == 1 else 'variables'} {named} in `{text}`",
            hint="Set it in the environment of the process that launches the flow; known are METAFLOW_STEP_NAME and, "
            "with `fetch_at_exec=True`, METAFLOW_RUN_ID, METAFLOW_RUN_ID_BASE, METAFLOW_TASK_ID and "
            "METAFLOW_INIT_<PARAMETER>",
        )
    return _VARIABLE.sub(lambda match: values[match[1]] or "", text)


def check_form(text: str, *, is_pathspec: bool, where: str) -> None:
    """Refuse what can be no name or pathspec, whatever its variables stand for. Raises `InvalidSpec`."""
    variables_in(text, where=where)
    example = _VARIABLE.sub("x", text)
    try:
        _ = parse_pathspec(example, where=where) if is_pathspec else parse_reference(example, where=where)
    except InvalidSpec as error:
        raise InvalidSpec(error.message.replace(f"`{example}`", f"`{text}`"), hint=error.hint) from error
