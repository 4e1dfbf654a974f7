"""Fetch one object to a file: what the shell of a remote task begins with, before it has any code.

This module and those that it imports travel on the command line: see `mfenv.metaflow.remote`. Python 3.8 and the
standard library only: see `mfenv.bootstrap`.
"""

from __future__ import annotations

import os
import sys
from typing import List

from mfenv.bootstrap.objects import NoCredentials, ObjectError, open_objects


def main(arguments: List[str]) -> None:
    """Fetch ``kind url file``; ends with 3 where nothing says who the task is, and with 1 for what else goes wrong."""
    kind, url, file = arguments
    root, _, key = url.rpartition("/")
    try:
        open_objects(kind, root, os.environ).fetch(key, file)
    except ObjectError as error:
        print("%s\nhint: %s" % (error.message, error.hint), file=sys.stderr)
        sys.exit(3 if isinstance(error, NoCredentials) else 1)
    except OSError as error:
        sys.exit("`%s` cannot be written: %s" % (file, error.strerror or error))
