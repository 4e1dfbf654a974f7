"""`python -m mfenv.cli environment ...`: the same without Metaflow's own first line, for programs that read JSON."""

from mfenv.cli.commands import cli

if __name__ == "__main__":
    cli(prog_name="python -m mfenv.cli")
