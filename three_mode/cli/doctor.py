"""Subcommand `three-mode doctor`: checks this machine. The exit code is 1 if a needed feature is broken."""

import argparse
import json
from collections import Counter
from dataclasses import asdict
from functools import partial
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from three_mode.cli import cluster_client
from three_mode.cli.console import open_console
from three_mode.doctor import Check, Status, checkup, cluster
from three_mode.errors import ThreeModeError

_LOOKS = {
    Status.OK: "[green]ok[/green]",
    Status.LIMITED: "[yellow]limited[/yellow]",
    Status.ABSENT: "[dim]absent[/dim]",
    Status.BROKEN: "[bold red]broken[/bold red]",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    cluster_client.add_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit code."""
    console = open_console()
    more: tuple[Any, ...] = ()
    if options.cluster:
        try:
            checked = cluster_client.cluster_of(options)
        except ThreeModeError as error:
            open_console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
            return 1
        more = ((cluster.AREA, partial(cluster.checks, checked, options.name or "")),)
    if options.json:
        found = list(checkup(more))
        print(json.dumps({"healthy": _healthy(found), "checks": [asdict(check) for check in found]}, indent=1))
    else:
        with console.status("looking around"):
            found = list(checkup(more))
        _show(console, found)
    return 0 if _healthy(found) else 1


def _healthy(found: list[Check]) -> bool:
    return not any(check.needed_but_broken for check in found)


def _show(console: Console, found: list[Check]) -> None:
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("", "what", "", "found"):
        table.add_column(name, overflow="fold")
    area = ""
    for check in found:
        shown, area = (check.area if check.area != area else ""), check.area
        table.add_row(f"[dim]{shown}[/dim]", check.name, _LOOKS[check.status], escape(check.found))
    console.print(table)
    advised = [check for check in found if check.advice]
    if advised:
        console.print("\nwhat to do")
    for check in advised:  # printed whole, so that a command can be copied
        console.print(f"  {check.name}: {escape(check.advice)}", soft_wrap=True, highlight=False)
    counts = Counter(check.status for check in found)
    summary = ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])
    console.print(f"\n{summary}" + ("" if _healthy(found) else "  -> three-mode cannot run here as it is"))
