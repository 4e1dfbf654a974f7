"""As much of the Kubernetes API, on loopback, as Metaflow's jobs need; their pods run in a `sandbox`.

Known are ``batch/v1`` Jobs (create, read, suspend by ``parallelism: 0``, delete), their pods (list by label, read), and
objects of ``argoproj.io``, which are kept and given back. Fields as in the API reference of Kubernetes 1.31.
"""

from __future__ import annotations

import contextlib
import json
import re
import threading
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from mfenv.testing.remote.sandbox import Sandbox

Json = dict[str, Any]

NAMESPACE = "default"
_JOBS = re.compile(r"/apis/batch/v1/namespaces/([^/]+)/jobs(?:/([^/]+))?$")
_PODS = re.compile(r"/api/v1/namespaces/([^/]+)/pods(?:/([^/]+))?$")
_ARGO = re.compile(r"(/apis/argoproj\.io/[^/]+/namespaces/[^/]+/[^/]+)(?:/([^/]+))?$")
_MARK = re.compile(r"metadata\.(annotations|labels)\['(.*)'\]$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A server that runs."""

    port: int
    config: Path
    """A kubeconfig file for it."""

    @property
    def variables(self) -> dict[str, str]:
        """What makes Metaflow use it."""
        return {"KUBECONFIG": str(self.config), "METAFLOW_KUBERNETES_NAMESPACE": NAMESPACE}


@contextlib.contextmanager
def kubernetes(sandbox: Sandbox) -> Iterator[Cluster]:
    """Run the server until the end of the block; its pods run by the settings of `sandbox`."""
    server = _Server(sandbox)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    config = sandbox.folder / "kubeconfig"
    # JSON is YAML.
    config.write_text(json.dumps(_kubeconfig(server.server_address[1])), encoding="utf-8")
    try:
        yield Cluster(port=server.server_address[1], config=config)
    finally:
        for job in server.jobs.values():
            job.is_stopped = True
        server.shutdown()
        server.server_close()


def _kubeconfig(port: int) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "any", "user": {}}],
        "contexts": [{"name": "here", "context": {"cluster": "here", "user": "any"}}],
        "current-context": "here",
    }


def variables_of(container: Json, fields: Mapping[str, str], marks: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    """Return the variables of a container of a pod, with those from the downward API.

    `fields` are the pod's by their paths (empty where there is none), `marks` its ``annotations`` and ``labels``.
    """
    found = {}
    for one in container.get("env") or []:
        reference = (one.get("valueFrom") or {}).get("fieldRef")
        if reference is None:
            found[one["name"]] = one.get("value") or ""
        elif mark := _MARK.match(reference["fieldPath"]):
            found[one["name"]] = marks.get(mark[1], {}).get(mark[2], "")
        else:
            found[one["name"]] = fields.get(reference["fieldPath"], "")
    return found


class _Job:
    """A job with its one pod, which runs at once."""

    def __init__(self, namespace: str, body: Json, sandbox: Sandbox) -> None:
        self.body, self.sandbox = body, sandbox
        self.is_stopped = False
        meta = body["metadata"]
        self.name: str = meta.get("name") or meta["generateName"] + uuid.uuid4().hex[:5]
        meta.update(name=self.name, namespace=namespace, uid=str(uuid.uuid4()), creationTimestamp=_now())
        body["spec"].setdefault("parallelism", 1)
        body["status"] = {"active": 1}
        template = body["spec"]["template"]
        given = template.get("metadata") or {}
        self.pod: Json = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{self.name}-{uuid.uuid4().hex[:5]}",
                "namespace": namespace,
                "uid": str(uuid.uuid4()),
                "labels": {**(given.get("labels") or {}), "job-name": self.name},
                "annotations": given.get("annotations") or {},
                "creationTimestamp": _now(),
            },
            "spec": template["spec"],
            "status": {"phase": "Pending", "hostIP": "127.0.0.1"},
        }

    def run(self) -> None:
        container = self.pod["spec"]["containers"][0]
        began = _now()
        try:
            running = self.sandbox.start(
                self.pod["metadata"]["name"],
                [*(container.get("command") or []), *(container.get("args") or [])],
                {**self._variables(container), "KUBERNETES_SERVICE_HOST": "127.0.0.1"},
                image=container["image"],
                seconds=self.pod["spec"].get("activeDeadlineSeconds") or 600,
            )
            self._tell("Running", {"running": {"startedAt": began}})
            record = running.wait(is_stopped=lambda: self.is_stopped)
            running.clean()
            code, message = record.code or 0, record.tail(5)
        except Exception as error:  # noqa: BLE001 (a job that never ends would keep its client waiting)
            code, message = 128, repr(error)
        ended = {
            "exitCode": code if code >= 0 else 128 - code,
            "reason": "Error" if code else "Completed",
            "startedAt": began,
            "finishedAt": _now(),
            # As with `terminationMessagePolicy: FallbackToLogsOnError`.
            **({"message": message} if code else {}),
        }
        self._tell("Failed" if code else "Succeeded", {"terminated": ended})
        self.body["status"] = {"failed": 1} if code else {"succeeded": 1}

    def _variables(self, container: Json) -> dict[str, str]:
        meta = self.pod["metadata"]
        fields = {
            **{f"metadata.{name}": meta[name] for name in ("name", "namespace", "uid")},
            "status.hostIP": self.pod["status"]["hostIP"],
            "spec.serviceAccountName": self.pod["spec"].get("serviceAccountName") or "",
        }
        return variables_of(container, fields, meta)

    def _tell(self, phase: str, state: Json) -> None:
        container = self.pod["spec"]["containers"][0]
        told = {"name": container["name"], "image": container["image"], "imageID": "any", "restartCount": 0}
        statuses = [{**told, "ready": phase == "Running", "state": state}]
        self.pod["status"] = {**self.pod["status"], "phase": phase, "containerStatuses": statuses}


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


class _Refused(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        reason = {404: "NotFound", 409: "AlreadyExists"}.get(code, "BadRequest")
        self.body: Json = {"kind": "Status", "status": "Failure", "message": message, "code": code, "reason": reason}
        self.code = code


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, sandbox: Sandbox) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.sandbox = sandbox
        self.turn = threading.RLock()
        self.jobs: dict[tuple[str, str], _Job] = {}
        self.kept: dict[tuple[str, str], Json] = {}
        """Objects by the path of their collection, and their names."""

    def answer(self, method: str, path: str, query: Mapping[str, str], body: Json) -> tuple[int, Json]:
        with self.turn:
            if found := _JOBS.match(path):
                return self._job(method, found[1], found[2], body)
            if (found := _PODS.match(path)) and method == "GET":
                return 200, self._pods(found[1], found[2], query)
            if found := _ARGO.match(path):
                return self._keep(method, found[1], found[2], body)
        raise _Refused(404, f"{method} {path} is not known here")

    def _job(self, method: str, namespace: str, name: str | None, body: Json) -> tuple[int, Json]:
        if method == "POST":
            job = _Job(namespace, body, self.sandbox)
            self.jobs[namespace, job.name] = job
            threading.Thread(target=job.run, daemon=True).start()
            return 201, job.body
        found = self.jobs.get((namespace, name or ""))
        if found is None:
            raise _Refused(404, f"there is no job {name}")
        if method == "PATCH":
            found.body["spec"].update(body.get("spec", {}))
        if method == "DELETE" or found.body["spec"]["parallelism"] == 0:
            found.is_stopped = True
        return 200, found.body

    def _pods(self, namespace: str, name: str | None, query: Mapping[str, str]) -> Json:
        pods = [job.pod for (where, _), job in self.jobs.items() if where == namespace]
        if name is not None:
            pods = [pod for pod in pods if pod["metadata"]["name"] == name]
            if not pods:
                raise _Refused(404, f"there is no pod {name}")
            return pods[0]
        for term in filter(None, query.get("labelSelector", "").split(",")):
            label, _, value = term.partition("=")
            pods = [pod for pod in pods if pod["metadata"]["labels"].get(label) == value.lstrip("=")]
        for term in filter(None, query.get("fieldSelector", "").split(",")):
            field, is_not, phase = term.partition("!=")
            if not is_not or field != "status.phase":
                raise _Refused(400, f"the selector {term} is not known here")
            pods = [pod for pod in pods if pod["status"]["phase"] != phase]
        return {"apiVersion": "v1", "kind": "PodList", "metadata": {}, "items": pods}

    def _keep(self, method: str, kind: str, name: str | None, body: Json) -> tuple[int, Json]:
        if method == "POST":
            meta = body["metadata"]
            name = meta.get("name") or meta["generateName"] + uuid.uuid4().hex[:5]
            if (kind, name) in self.kept:
                raise _Refused(409, f"{name} is there")
            meta.update(name=name, uid=str(uuid.uuid4()), resourceVersion="1")
            self.kept[kind, name] = body
            return 201, body
        if name is None:
            return 200, {"items": [one for (where, _), one in self.kept.items() if where == kind], "metadata": {}}
        if (kind, name) not in self.kept:
            raise _Refused(404, f"there is no {name}")
        if method in ("PUT", "PATCH"):
            self.kept[kind, name].update(body)
            self.kept[kind, name]["metadata"].setdefault("resourceVersion", "1")
        return 200, self.kept.pop((kind, name)) if method == "DELETE" else self.kept[kind, name]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: Any) -> None:
        pass

    def _answer(self) -> None:
        url = urlsplit(self.path)
        size = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(size)) if size else {}
        try:
            code, answer = self.server.answer(self.command, url.path, dict(parse_qsl(url.query)), body)
        except _Refused as refused:
            code, answer = refused.code, refused.body
        content = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer  # noqa: N815
