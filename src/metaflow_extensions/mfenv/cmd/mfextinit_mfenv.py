"""The commands that `metaflow` gets from us; strings only, so that nothing is loaded before one is called."""

CMDS_DESC = [
    ("environment", "mfenv.cli.commands.cli"),
    ("env", "mfenv.cli.commands.short"),
    ("debug", "mfenv.cli.commands.debug.cli"),
]
