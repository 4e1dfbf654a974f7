"""Environments whose names are looked up on the node, when the task starts."""

from __future__ import annotations

import gzip
import json
import pickle
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from mfenv.app.known import KnownEnvironments
from mfenv.bootstrap.objects import Missing, ObjectError, Objects, open_objects
from mfenv.domain.digest import Json, LockId, RequestKey, is_id
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.reference import (
    ByLock,
    ByPathspec,
    is_late,
    parse_pathspec,
    parse_reference,
    substitute,
    variable_of_parameter,
    variables_in,
)
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.spec import EnvironmentSpec
from mfenv.errors import InvalidSpec, StoreError
from mfenv.formats import lock_json
from mfenv.store.aliases import AliasStore
from mfenv.store.backends.memory import MemoryBlobStore
from mfenv.store.base import BlobInfo, OnTransfer
from mfenv.store.layout import ROOT, Layout
from mfenv.store.locks import LockStore

_ANSWER_WITHIN = 30.0


def find(job: Mapping[str, Any], environ: Mapping[str, str]) -> Json:
    """Return the lock that a name stands for now, and the identity that the task's metadata notes.

    Raises `InvalidSpec` naming the step, and `StoreError`.
    """
    flow, run, step, task = (environ.get("MF_PATHSPEC", "").split("/") + [""] * 4)[:4]
    where = f"step `{step}`, @named_env(fetch_at_exec=True)"
    wanted, store = job["wanted"], job["store"]
    text = str(wanted.get("name") or wanted.get("pathspec"))
    known = {
        "METAFLOW_RUN_ID": run,
        "METAFLOW_RUN_ID_BASE": run,
        "METAFLOW_STEP_NAME": step,
        "METAFLOW_TASK_ID": task,
    }
    missing = [name for name in variables_in(text, where=where) if name not in known and name not in environ]
    if any(map(is_late, missing)):
        known |= _parameters(flow, run, environ)
    if job["may_wait"] and any(is_late(name) and name not in known for name in missing):
        return {"waits": True}
    text = substitute(text, lambda name: known.get(name, environ.get(name)), where=where)
    is_name = "name" in wanted
    ref = parse_reference(text, where=where) if is_name else parse_pathspec(text, where=where)
    platform = Platform.parse(wanted["platform"], where=where)
    environments = _environments(_NodeStore(store, environ), store, environ)
    lock = environments.find(ref, platform, where=where)
    # The step asks for this very environment, and nothing more.
    spec = EnvironmentSpec(python=None, conda=(), channels=(), base=lock)
    request = ResolutionRequest(spec=spec, target=baseline(platform)).key
    return {"lock": json.loads(lock_json.dump(lock)), "identity": [request, lock.id, platform.value]}


def _environments(blobs: _NodeStore, store: Mapping[str, str], environ: Mapping[str, str]) -> KnownEnvironments:
    layout = Layout(
        packages_folder=store["packages"].removeprefix(f"{ROOT}/").removesuffix("/sha256/"),
        environments_folder=store["environments"].removeprefix(ROOT).strip("/"),
    )
    return KnownEnvironments(
        LockStore(MemoryBlobStore(), shared=lambda: blobs, layout=layout, keeps_found=False),
        of_step=lambda ref, where: _environment_of_step(ref, where, environ),
        aliases=lambda: AliasStore(blobs, layout),
    )


class _NodeStore:
    """A store that is only read, through the clients of the bootstrap; see `mfenv.store.base.BlobStore`."""

    def __init__(self, store: Mapping[str, str], environ: Mapping[str, str]) -> None:
        self.kind = store["kind"]
        self.location = store["root"]
        self._objects = open_objects(self.kind, self.location, environ)

    def get(self, key: str) -> bytes | None:
        try:
            return self._objects.read(key)
        except Missing:
            return None
        except ObjectError as error:
            raise StoreError(error.message, hint=error.hint) from error

    def list(self, prefix: str) -> Iterator[BlobInfo]:
        try:
            names = self._objects.names(prefix)
        except ObjectError as error:
            raise StoreError(error.message, hint=error.hint) from error
        # Nobody asks here how old or large they are.
        yield from (BlobInfo(key=name, size=0, modified=datetime.fromtimestamp(0, timezone.utc)) for name in names)

    def find(self, keys: Iterable[str]) -> Mapping[str, BlobInfo]:
        raise NotImplementedError

    def put(self, key: str, content: bytes) -> bool:
        raise NotImplementedError

    def replace(self, key: str, content: bytes) -> None:
        # A name that was found damaged is mended by who may write.
        del key, content

    def upload(self, files: Mapping[str, Path], on_transfer: OnTransfer | None = None) -> None:
        raise NotImplementedError

    def download(self, files: Mapping[str, Path], on_transfer: OnTransfer | None = None) -> set[str]:
        raise NotImplementedError

    def touch(self, keys: Iterable[str]) -> None:
        raise NotImplementedError

    def delete(self, keys: Iterable[str]) -> None:
        raise NotImplementedError


# ---------------------------------------------------------------- parameters


def _parameters(flow: str, run: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the values of the flow's parameters by the variables that stand for them.

    A start step on Step Functions has them in variables (``METAFLOW_PARAMETERS``), before the task that keeps them is
    there; every other one finds them among that task's artifacts.
    """
    found = {
        variable_of_parameter(name): str(value)
        for variable in ("METAFLOW_DEFAULT_PARAMETERS", "METAFLOW_PARAMETERS")
        for name, value in json.loads(environ.get(variable) or "{}").items()
    }
    return found or _kept_parameters(flow, run, environ)


def _kept_parameters(flow: str, run: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Read the artifacts of the run's ``_parameters``; Metaflow's datastore of 2.16 to 2.19."""
    kind = environ.get("MF_DATASTORE", "")
    root = environ.get("MF_DATASTORE_ROOT") or environ.get(f"METAFLOW_DATASTORE_SYSROOT_{kind.upper()}", "")
    if not root:
        return {}
    objects = open_objects(kind, root, environ)
    try:
        names = sorted(objects.names(f"{flow}/{run}/_parameters/"))
        kept = [name for name in names if name.endswith(".data.json")]
        artifacts = json.loads(objects.read(kept[-1]))["objects"] if kept else {}
        values = {name: _artifact(objects, flow, digest) for name, digest in artifacts.items()}
    except ObjectError as error:
        raise StoreError(error.message, hint=error.hint) from error
    return {
        variable_of_parameter(name): str(value)
        for name, value in values.items()
        if isinstance(value, str | int | float | bool) and not name.startswith("_")
    }


def _artifact(objects: Objects, flow: str, digest: str) -> object:
    content = gzip.decompress(objects.read(f"{flow}/data/{digest[:2]}/{digest}"))
    try:
        # The flow's own data, which the task unpickles itself a moment later.
        return pickle.loads(content)  # noqa: S301
    except Exception:  # noqa: BLE001
        # A class that only the environment to come has: not what a name is made of.
        return None


# ---------------------------------------------------------------- steps of earlier runs


def _environment_of_step(ref: ByPathspec, where: str, environ: Mapping[str, str]) -> ByLock:
    """Ask Metaflow's metadata service which environment the first task of a step had (its API of 2.4)."""
    service = environ.get("METAFLOW_SERVICE_URL", "").rstrip("/")
    if not service or ref.run == "latest":
        what = "of the latest run" if service else "without a metadata service"
        raise InvalidSpec(
            f"{where}: `{ref}` cannot be looked up on the machine of the task {what}",
            hint="Give the environment a name, or leave `fetch_at_exec` out",
        )
    ask = _asking(service, json.loads(environ.get("METAFLOW_SERVICE_HEADERS") or "{}"), where)
    step = f"/flows/{ref.flow}/runs/{ref.run}/steps/{ref.step}"
    tasks = [ref.task] if ref.task else [str(one["task_id"]) for one in ask(f"{step}/tasks")]
    metadata = ask(f"{step}/tasks/{min(tasks, key=_number)}/metadata") if tasks else []
    for datum in reversed(metadata):
        if datum.get("field_name") == "conda_env_id":
            request, lock, _ = json.loads(datum["value"])
            return ByLock(lock=LockId(lock), request=RequestKey(request) if is_id(str(request)) else None)
    raise InvalidSpec(
        f"{where}: the step `{ref}` did not run in an environment of this package",
        hint="Name a step that ran with --environment=conda and this package installed, and was not disabled",
    )


def _number(text: str) -> tuple[bool, int, str]:
    return (not text.isdigit(), int(text) if text.isdigit() else 0, text)


def _asking(service: str, headers: Mapping[str, str], where: str) -> Callable[[str], Any]:
    def ask(path: str) -> Any:
        # Metaflow itself asks this address, whatever its scheme.
        request = urllib.request.Request(service + path, headers=dict(headers))  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=_ANSWER_WITHIN) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise InvalidSpec(f"{where}: the metadata service knows no `{path}` ({error.code})") from error
        except (OSError, ValueError) as error:
            raise StoreError(f"{where}: the metadata service cannot be asked: {error}") from error

    return ask
