"""Stand-ins for conda, mamba and micromamba: they solve with py-rattler, and answer in the form of the recorded ones.

The programs themselves are not on PyPI. How stand-ins print is held against recorded outputs by tests; where a program
is on PATH, the same tests run it. `program` writes one into a folder for PATH.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from mfenv.domain.channel import Channel
from mfenv.domain.matchspec import MatchSpec
from mfenv.domain.platform import Platform, baseline
from mfenv.domain.request import ResolutionRequest
from mfenv.domain.resolved import ResolvedPackage
from mfenv.domain.spec import ChannelPriority, EnvironmentSpec, SolveOptions
from mfenv.errors import ResolutionFailed
from mfenv.io.worker import WorkerClient
from mfenv.resolve.backends import rattler
from mfenv.resolve.backends.conda_dialects import dialect_of, parse_version
from mfenv.resolve.backends.rattler import RattlerResolver

FAULT = "MFENV_STAND_IN_FAULT"
"""The variable that makes a stand-in misbehave: one of `FAULTS`."""
FAULTS = ("hang", "garbage", "empty", "success-with-error", "secrets", "half", "crash", "no-needs")
SECRET = "canary-of-the-program"  # noqa: S105 - it is looked for


def program(folder: Path, name: str, version: str) -> Path:
    """Write a stand-in called `name` into `folder`, which says that it is `version`; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(
        f"#!{sys.executable}\nimport sys\nfrom mfenv.testing.conda_programs import main\n"
        f"sys.exit(main({name!r}, {version!r}, sys.argv[1:]))\n"
    )
    path.chmod(0o755)
    return path


def main(name: str, version: str, words: list[str]) -> int:
    """Do what the program would do; return its exit code."""
    if words == ["--version"]:
        print(
            f"conda {version}"
            if name == "conda"
            else f"mamba {version}\nconda 23.11.0"
            if _is_old(name, version)
            else version
        )
        return 0
    fault = os.environ.get(FAULT, "")
    if fault and fault != "no-needs":
        return _misbehave(fault)
    options = _options(words)
    worker = WorkerClient(rattler.OPERATIONS, needs=("rattler",))
    try:
        answer = RattlerResolver(worker, cache=os.environ["CONDA_PKGS_DIRS"] + "/cache").resolve(_request(options))
    except ResolutionFailed as error:
        return _print_failure(name, version, error)
    finally:
        worker.close()
    rows = [(_row_of_conda if name == "conda" else _row)(package) for package in answer.packages]
    fetched = [_row(package) | ({"depends": []} if fault else {}) for package in answer.packages]
    actions = {"FETCH": fetched, "LINK": rows, "PREFIX": options.prefix}
    _print({"success": True, "actions": actions, "prefix": options.prefix, "dry_run": True})
    return 0


def _is_old(name: str, version: str) -> bool:
    return name == "mamba" and version.startswith("1.")


def _options(words: list[str]) -> argparse.Namespace:
    """Read the words that the real ones know, and no others."""
    parser = argparse.ArgumentParser(exit_on_error=True)
    parser.add_argument("command", choices=["create"])
    for flag in ("--dry-run", "--json", "--yes", "--override-channels"):
        # conda-lock does without `--yes`.
        parser.add_argument(flag, action="store_true", required=flag != "--yes")
    parser.add_argument("--strict-channel-priority", action="store_const", const="strict", dest="priority")
    parser.add_argument("--no-channel-priority", action="store_const", const="disabled", dest="priority")
    parser.add_argument("--channel-priority", choices=["strict", "disabled"], dest="priority")
    parser.add_argument("--platform", default=os.environ.get("CONDA_SUBDIR"))
    parser.add_argument("--prefix", required=True)
    parser.add_argument("--channel", action="append", dest="channels")
    parser.add_argument("specs", nargs="*")
    return parser.parse_intermixed_args(words)


def _request(options: argparse.Namespace) -> ResolutionRequest:
    platform = Platform(options.platform)
    facts = {
        f"__{name.lower()}": os.environ[f"CONDA_OVERRIDE_{name}"]
        for name in ("GLIBC", "LINUX", "CUDA", "OSX", "ARCHSPEC")
        if f"CONDA_OVERRIDE_{name}" in os.environ
    }
    if not facts.get("__archspec", "1").startswith("1"):
        facts["__archspec"] = f"1={facts['__archspec']}"
    spec = EnvironmentSpec(
        python=None,
        conda=tuple(_spec(text) for text in options.specs),
        channels=tuple(Channel.parse(channel, where="--channel") for channel in options.channels),
        options=SolveOptions(channel_priority=ChannelPriority(options.priority or "strict")),
    )
    return ResolutionRequest(spec=spec, target=baseline(platform, facts))


def _spec(text: str) -> MatchSpec:
    channel, _, rest = text.rpartition("::")
    bare, _, brackets = rest.partition("[")
    # As conda-lock writes them: `name version build`.
    name, *words = bare.split()
    found = dict(part.split("=", 1) for part in brackets.rstrip("]").split("',") if part)
    parts = {key: value.strip("'") for key, value in found.items()}
    return MatchSpec(
        name=name,
        version=parts.get("version", _exact(words[0]) if words else "*"),
        build=parts.get("build", words[1] if len(words) > 1 else None),
        channel=Channel.parse(channel, where="spec") if channel else None,
    )


def _exact(text: str) -> str:
    """Return a version as the embedded solver has it: one alone behind a name is exactly that one."""
    return f"=={text}" if text[0].isdigit() and not set(text) & set("*|,<>=!~") else text


def _row(package: ResolvedPackage) -> dict[str, Any]:
    """One package as libmamba links it."""
    record, artifact = package.record, package.artifact
    return {
        "build": record.build,
        "build_number": record.build_number,
        "build_string": record.build,
        "channel": record.channel,
        "constrains": list(record.constrains),
        "depends": list(record.depends),
        "fn": artifact.file_name,
        "license": record.license or "",
        "md5": artifact.md5 or "",
        "name": record.name,
        "sha256": artifact.sha256 or "",
        "size": artifact.size,
        "subdir": record.subdir,
        "timestamp": 0,
        "track_features": "",
        "url": artifact.url,
        "version": record.version,
    }


def _row_of_conda(package: ResolvedPackage) -> dict[str, Any]:
    """One package as conda links it: without its file."""
    record = package.record
    return {
        "base_url": record.channel,
        "build_number": record.build_number,
        "build_string": record.build,
        "channel": record.channel.rpartition("/")[2],
        "dist_name": f"{record.name}-{record.version}-{record.build}",
        "name": record.name,
        "platform": record.subdir,
        "version": record.version,
    }


def _print_failure(name: str, version: str, error: ResolutionFailed) -> int:
    text = error.explain()
    is_channel = any(each.startswith("channel:") for each in error.packages)
    if name == "conda":
        kind = "UnavailableInvalidChannel" if is_channel else "LibMambaUnsatisfiableError"
        told = text if is_channel else f"Encountered problems while solving:\n{text}\ncould not be installed"
        _print({"caused_by": "None", "error": f"{kind}: {told}", "exception_name": kind, "message": told})
        return 1
    recent = (parse_version(version) or ()) >= (2, 8)
    if is_channel:
        told = f"Multiple errors occurred:\n    Download error (37)\n    {text}\n    not loaded!"
        if recent:
            _print({"log_history": [{"level": "critical", "message": told, "source": "libmamba"}]})
        else:
            sys.stderr.write(f"critical libmamba {told}\n")
        return 1
    if recent:
        told = f"Could not solve for environment specs\n    The following package could not be installed\n{text}"
        log = {"log_history": [{"level": "error", "message": told, "source": "libmamba"}]}
        _print({**log, "solver_problems": ["unsupported request"], "success": False})
    else:
        problems = [f"nothing provides requested {each}" for each in error.packages] or [f"{text} can be installed"]
        _print({"solver_problems": problems, "success": False})
    sys.stderr.write("critical libmamba Could not solve for environment specs\n")
    return 1


def _misbehave(fault: str) -> int:
    match fault:
        case "hang":
            subprocess.Popen(["sleep", "600"])
            time.sleep(600)
        case "garbage":
            print("Traceback (most recent call last):\n  something else")
        case "success-with-error":
            _print({"success": False, "error": "something went wrong", "exception_name": "CondaError"})
        case "secrets":
            _print({"error": f"cannot get https://me:{SECRET}@channels.example/x", "exception_name": "CondaHTTPError"})
            return 1
        case "half":
            print('{"success": true, "actions": {"LINK": [{"name": "six"')
        case "crash":
            sys.stderr.write("Segmentation fault\n")
            return 139
    return 0


def _print(document: dict[str, Any]) -> None:
    print(json.dumps(document, indent=2))


def speaks(name: str, version: str) -> bool:
    """Tell whether that version of a program is one that is spoken to."""
    found = parse_version(version)
    return found is not None and dialect_of(name, found) is not None
