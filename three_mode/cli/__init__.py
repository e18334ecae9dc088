"""Command `three-mode`: one module a subcommand, imported when the subcommand runs."""

from three_mode.cli.main import main

__all__ = ["main"]
