"""Metaflow's code for tasks in interpreters that have no Metaflow installed.

Metaflow can lay out its code package in a folder, but only once the package is compressed, and each run gets a new
folder in which all of Metaflow is compiled again. Here the links to the code files are kept between runs (with
the bytecode that Python puts beside them), under a digest of what they link to; a run adds a small folder of its own.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from metaflow.decorators import FlowDecorator, StepDecorator, flow_decorators
from metaflow.packaging_sys import ContentType
from metaflow.user_configs.config_parameters import dump_config_values

from mfenv.io.filelock import used

_CODE = ContentType.CODE_CONTENT.value | ContentType.MODULE_CONTENT.value
_CODE_FOLDER, _OTHER_FOLDER = ".mf_code", ".mf_meta"


class CodeRoot:
    """A folder that looks like an extracted code package, for the tasks of one run."""

    def __init__(self, package: Any, flow: Any, environment: Any, kept: Path) -> None:
        """Lay out the code of `package`; links are kept below `kept` for the next run."""
        self._in_use = contextlib.ExitStack()
        self._folder = tempfile.TemporaryDirectory(prefix="mfenv-code-")
        self.path = Path(self._folder.name)
        content = getattr(package, "_mfcontent", None)
        if content is None or _others_add_code(flow):
            # The slow way, which knows everything that anybody adds: waits for the whole package.
            package.extract_into(str(self.path), _CODE | ContentType.OTHER_CONTENT.value)
        else:
            links = _kept_links(content.content_names(_CODE), kept, self._in_use)
            _link_children(links, self.path / _CODE_FOLDER)
            _write_other(self.path, content, flow, environment)
        self.variables = _variables(package, str(self.path))

    def remove(self) -> None:
        """Remove the run's own folder."""
        self._folder.cleanup()
        self._in_use.close()


def _variables(package: Any, path: str) -> Mapping[str, str]:
    """Return what a process needs to find the code; a name that ends in a colon is meant without it."""
    variables = package.get_post_extract_env_vars(package.package_metadata, path)
    return {name.removesuffix(":"): value for name, value in variables.items()}


def _others_add_code(flow: Any) -> bool:
    """Tell whether a decorator adds files of its own to the package, which are known only once it is made."""
    # Metaflow's flow decorators know the hook since 2.17.
    theirs = (StepDecorator.add_to_package, getattr(FlowDecorator, "add_to_package", None))
    decorators = [
        *flow_decorators(type(flow)),
        *(decorator for step in flow for decorator in step.decorators),
    ]
    return any(getattr(type(decorator), "add_to_package", None) not in theirs for decorator in decorators)


def _link_children(source: Path, folder: Path) -> None:
    """Link what is in `source` into `folder`, which is a folder of its own: Metaflow looks for its neighbours."""
    folder.mkdir()
    for child in source.iterdir():
        (folder / child.name).symlink_to(child)


def _kept_links(names: Iterable[tuple[str, str]], kept: Path, in_use: contextlib.ExitStack) -> Path:
    """Return a folder of links to the given files, made if it is not there yet.

    Nobody clears it away until `in_use` is closed.
    """
    # Past the links of a run that this one is nested in: those go away with it.
    pairs = sorted((os.path.relpath(name, _CODE_FOLDER), _past_links(path)) for path, name in names)
    digest = hashlib.sha256(json.dumps(pairs).encode()).hexdigest()[:40]
    folder = kept / digest
    in_use.enter_context(used(kept / f"{digest}.lock"))
    with contextlib.suppress(OSError):
        # When it was last used.
        os.utime(folder)
    if not folder.is_dir():
        kept.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix=f".{digest}.", dir=kept))
        # For the bytecode of modules that are single files.
        try:
            (making / "__pycache__").mkdir()
            for name, path in pairs:
                link = making / name
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(path)
        except BaseException:
            _discard(making)
            raise
        try:
            making.rename(folder)
        except OSError:
            # Another run was faster.
            _discard(making)
    # A cleaner of old files may have taken some.
    for name, path in pairs:
        link = folder / name
        if not os.path.lexists(link):
            link.parent.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(FileExistsError):
                link.symlink_to(path)
    return folder


def _past_links(path: str) -> str:
    folder, slash, name = path.rpartition("/")
    return os.path.realpath(path) if Path(path).is_symlink() else _real_folder(folder) + slash + name


@functools.cache
def _real_folder(folder: str) -> str:
    return os.path.realpath(folder)


def _discard(folder: Path) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)


def _write_other(root: Path, content: Any, flow: Any, environment: Any) -> None:
    """Write what Metaflow wants to know about the package it runs from."""
    (root / _OTHER_FOLDER).mkdir()
    generated = {
        name: value for value, name in content.contents(ContentType.OTHER_CONTENT.value) if isinstance(value, bytes)
    }
    # These two come into the content from the thread that makes the package, sooner or later.
    generated[f"{_OTHER_FOLDER}/INFO"] = json.dumps(environment.get_environment_info(include_ext_info=True)).encode()
    generated[f"{_OTHER_FOLDER}/CONFIG"] = json.dumps(dump_config_values(flow)).encode()
    for name, value in generated.items():
        (root / name).write_bytes(value)
