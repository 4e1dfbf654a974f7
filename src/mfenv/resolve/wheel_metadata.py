"""What a wheel says of itself (PEP 427, core metadata). The standard library reads zip files and their headers."""

from __future__ import annotations

import email
import re
import zipfile
import zlib
from pathlib import Path

from mfenv.errors import ResolutionFailed

_METADATA = re.compile(r"[^/]+\.dist-info/METADATA")
# Bytes. The headers come first; a description behind them that is longer may be cut off.
_LONGEST = 16 << 20


def requirements_of(path: Path) -> tuple[str, ...]:
    """Return what the wheel at `path` requires, each as written (``Requires-Dist``), what its extras do included.

    Raises `ResolutionFailed` naming the file when it cannot be read.
    """
    try:
        with zipfile.ZipFile(path) as wheel:
            (member,) = [info for info in wheel.infolist() if _METADATA.fullmatch(info.filename)]
            with wheel.open(member) as file:
                message = email.message_from_bytes(file.read(_LONGEST))
    # All that zipfile and zlib raise over what they are given.
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise ResolutionFailed(
            f"the wheel `{path.name}` cannot be looked into, to see what its extras need",
            hint="Ask for what the extras need by name",
            output=str(error),
        ) from error
    return tuple(str(text) for text in message.get_all("Requires-Dist") or ())
