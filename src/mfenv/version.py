"""The version of this distribution, in one place; imported by every process, so nothing else is here."""

VERSION = "0.1.0"
