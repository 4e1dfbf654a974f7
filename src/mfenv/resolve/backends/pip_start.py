"""Runs pip as if it ran in another environment: with the tags, markers and Python of a target.

Run as a program by `mfenv.resolve.backends.pip`, with the Python that has pip. pip evaluates markers for its own
Python, whatever it is told (https://github.com/pypa/pip/issues/11664, open), and takes no source distributions once it
is told a platform. What is put in place of pip's own, in pip 23.0 to 26: the environment of markers, the tags of
wheels, the refusal of sources, and, where candidates are given, the versions that projects have.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(facts: dict[str, Any], words: list[str]) -> int:
    """Run pip with `words`; `facts` has ``markers``, ``tags`` and ``candidates``: project to addresses of stand-ins."""
    from pip._internal.cli import cmdoptions
    from pip._internal.cli.main import main as pip
    from pip._internal.index.package_finder import PackageFinder
    from pip._internal.models import target_python
    from pip._vendor.packaging import markers
    from pip._vendor.packaging.tags import Tag

    tags = [Tag(*text.split("-")) for text in facts["tags"]]
    environment: dict[str, str] = facts["markers"]
    markers.default_environment = lambda: dict(environment)
    target_python.get_supported = lambda *_args, **_more: list(tags)  # type: ignore[attr-defined]
    cmdoptions.check_dist_restriction = lambda *_args, **_more: None
    candidates: dict[str, list[str]] = facts["candidates"]
    if candidates:
        find_all = PackageFinder.find_all_candidates

        def only_candidates(self: Any, project_name: str) -> Any:
            found = find_all(self, project_name)
            stubs = candidates.get(project_name.lower().replace("_", "-"))
            return [each for each in found if each.link.url in stubs] if stubs is not None else found

        PackageFinder.find_all_candidates = only_candidates  # type: ignore[assignment, method-assign]
    return int(pip(words) or 0)


if __name__ == "__main__":
    sys.exit(main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")), sys.argv[2:]))
