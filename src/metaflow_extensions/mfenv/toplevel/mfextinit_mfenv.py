"""The module whose names appear in `metaflow` itself."""

toplevel = "mfenv_version"
