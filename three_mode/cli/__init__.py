"""The `three-mode` command: one file a subcommand, imported when it is asked for."""

from three_mode.cli.main import main

__all__ = ["main"]
