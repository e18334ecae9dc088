"""Subcommand `three-mode config check`: the settings in force, and where each of them comes from."""

import argparse
import json

from rich.markup import escape
from rich.table import Table

from three_mode.cli.config_rows import SettingRow, rows
from three_mode.cli.console import open_console
from three_mode.config import Sources
from three_mode.errors import ThreeModeError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="print what is in force; the exit code is 1 if something is wrong")
    check.add_argument("--config", metavar="FILE", help="this file, instead of the one that is found")
    check.add_argument("--set", action="store_true", help="only what is not a default")
    check.add_argument("--json", action="store_true", help="print JSON, for programs")


def run(options: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit code."""
    try:
        sources = Sources(options.config)
        found = [row for row in rows(sources) if not options.set or row.source != "default"]
    except ThreeModeError as error:
        if options.json:
            print(json.dumps({"file": None, "error": str(error), "settings": []}, indent=1))
        open_console(stderr=True).print(f"[red]three-mode config:[/red] {escape(str(error))}", soft_wrap=True)
        return 1
    if options.json:
        settings = [row._asdict() for row in found]
        print(json.dumps({"file": sources.file, "error": None, "settings": settings}, indent=1))
    else:
        _show(sources, found)
    return 0


def _show(sources: Sources, found: list[SettingRow]) -> None:
    console = open_console()
    if sources.file is None:
        looked = ", ".join(map(str, sources.searched()))
        console.print(f"no config file: neither $LLM_CONFIG nor {escape(looked)}", soft_wrap=True, highlight=False)
    else:
        console.print(f"config file: {escape(sources.file)}", soft_wrap=True, highlight=False)
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("setting", "value", "from"):
        table.add_column(name, overflow="fold")
    for row in found:
        table.add_row(escape(row.name), escape(row.text), escape(row.source), style="dim" * (row.source == "default"))
    console.print(table)
