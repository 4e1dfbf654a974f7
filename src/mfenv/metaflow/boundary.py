"""The edge to Metaflow: our errors in the form that it prints without a traceback."""

from __future__ import annotations

from metaflow.exception import MetaflowException

from mfenv.errors import EnvironmentsError


class EnvironmentException(MetaflowException):
    """An error about environments, as Metaflow prints it: headline and message."""

    def __init__(self, error: EnvironmentsError) -> None:
        """Take over the headline, message, program output and hint of `error`."""
        super().__init__(_printable(error.explain()))
        self.headline = error.headline
        self.error = error


def _printable(text: str) -> str:
    # Metaflow's echo takes each asterisk for a change of colour and swallows it. The operator that looks the
    # same survives, and is understood where versions are read.
    return text.replace("*", "\N{ASTERISK OPERATOR}")
