"""A metadata service on loopback, kept in memory: what Metaflow's provider ``service`` asks for, and no more.

Metaflow's own service is not on PyPI and needs a database. The routes and fields are those that Metaflow 2.19's
client sends and reads.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

VERSION = "2.5.0"
_ID_FIELDS = {"flows": "flow_id", "runs": "run_number", "steps": "step_name", "tasks": "task_id"}


class MetadataService:
    """What tasks told, by path: ``/flows/F/runs/1/steps/start/tasks/2``."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._lock = threading.Lock()
        self._objects: dict[str, dict[str, Any]] = {}
        self._rows: dict[str, list[dict[str, Any]]] = {}
        self._next = 1
        self.heartbeats: list[str] = []
        self.port = 0

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> Any:
        """Return an object, or a list of what is below one; None where nothing is."""
        with self._lock:
            if path in self._objects:
                return self._objects[path]
            parent, _, last = path.rpartition("/")
            if last == "metadata":
                return self._rows.get(path, [])
            if last == "artifacts":
                attempt = None
                if "/attempt/" in parent:
                    parent, _, number = parent.rpartition("/attempt/")
                    attempt = int(number)
                return self._artifacts(parent, attempt)
            if last in _ID_FIELDS:
                depth = path.count("/") + 1
                below = [key for key in self._objects if key.startswith(f"{path}/") and key.count("/") == depth]
                return [self._objects[key] for key in below]
            if parent.endswith("/artifacts"):
                found = self._artifacts(parent.removesuffix("/artifacts"), None)
                return next((row for row in found if row["name"] == last), None)
            return None

    def _artifacts(self, task: str, attempt: int | None) -> list[dict[str, Any]]:
        rows = self._rows.get(f"{task}/artifacts", [])
        wanted = max((row["attempt_id"] for row in rows), default=0) if attempt is None else attempt
        return [row for row in rows if row["attempt_id"] == wanted]

    def post(self, path: str, body: Any) -> Any:
        """Keep what is told, and return it; None for a path that there is not."""
        with self._lock:
            parent, _, last = path.rpartition("/")
            if last == "heartbeat":
                self.heartbeats.append(path)
                return {}
            if last in {"metadata", "artifact"}:
                rows = self._rows.setdefault(f"{parent}/{'metadata' if last == 'metadata' else 'artifacts'}", [])
                rows += [self._filled(row, parent) for row in body]
                return {}
            if parent == "/flows":
                return self._create(path, body)
            if last in {"run", "task"}:
                field = _ID_FIELDS[f"{last}s"]
                identity = body.get(field) or body.get("run_id" if last == "run" else field) or self._number()
                return self._create(f"{parent}/{last}s/{identity}", {**body, field: str(identity)})
            return self._create(parent, body) if last == "step" else None

    def _number(self) -> int:
        self._next += 1
        return self._next

    def _create(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        return self._objects.setdefault(path, self._filled(body, path))

    def _filled(self, body: dict[str, Any], path: str) -> dict[str, Any]:
        words = path.strip("/").split("/")
        known = {_ID_FIELDS[kind]: name for kind, name in zip(words[::2], words[1::2], strict=False)}
        now = int(time.time() * 1000)
        defaults = {"ts_epoch": now, "tags": [], "system_tags": [], "user_name": "", "attempt_id": 0, "id": now}
        return {**defaults, **known, **body, **({"run_id": known["run_number"]} if "run_number" in known else {})}


@contextlib.contextmanager
def metadata_service() -> Iterator[MetadataService]:
    """Answer on loopback until the end of the block."""
    service = MetadataService()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self, body: Any) -> None:
            content = json.dumps(body).encode()
            self.send_response(200 if body is not None else 404)
            self.send_header("METADATA_SERVICE_VERSION", VERSION)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def do_GET(self) -> None:
            self._answer({} if self.path == "/ping" else service.get(self.path))

        def do_POST(self) -> None:
            text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self._answer(service.post(self.path, json.loads(text or b"{}")))

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    service.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
