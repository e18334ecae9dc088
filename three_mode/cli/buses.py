"""Subcommand `three-mode buses`: lists the buses of this user that run on this machine."""

import argparse
import asyncio
import json
from typing import Any

from rich.markup import escape
from rich.table import Table

from three_mode.cli.console import open_console
from three_mode.cli.joining import agents_on
from three_mode.errors import ModeUnavailable
from transports.bus import Bus, BusError, BusOptions, running_buses

WITHIN = 5.0  # seconds for one bus


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def run(options: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit code."""
    found = asyncio.run(_look_at_all())
    if options.json:
        print(json.dumps({"buses": found}, indent=1))
        return 0
    shown = open_console()
    if not found:
        shown.print("no bus is running; `async with Orchestrator(name=...)` starts one")
        return 0
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in ("bus", "members", "agents", "roles"):
        table.add_column(name, justify="right" if name in ("members", "agents") else "left", overflow="fold")
    for each in found:
        if each["problem"]:
            table.add_row(escape(each["name"]), "", "", f"[red]{escape(each['problem'])}[/red]")
        else:
            row = (str(each["members"]), str(each["agents"]), escape(", ".join(each["roles"])))
            table.add_row(escape(each["name"]), *row)
    shown.print(table)
    return 0


async def _look_at_all() -> list[dict[str, Any]]:
    try:
        names = running_buses()
    except BusError as error:
        raise ModeUnavailable(str(error)) from None
    return await asyncio.gather(*map(_look_at, names))


def _in_the_table(where: str, error: BaseException) -> None:
    """What the bus reports besides is shown as its problem."""


async def _look_at(name: str) -> dict[str, Any]:
    """Name, members, agents and roles of one bus; or the problem where it cannot be joined."""
    found: dict[str, Any] = {"name": name, "members": 0, "agents": 0, "roles": [], "problem": ""}
    try:
        async with asyncio.timeout(WITHIN):
            bus = await Bus.join(name, BusOptions(create=False, label="buses", on_error=_in_the_table))
            try:
                roles, agents = agents_on(bus)
                return found | {"members": len(bus.members()) - 1, "agents": len(agents), "roles": roles}
            finally:
                await bus.leave(within=0.2)
    except (BusError, TimeoutError) as error:
        return found | {"problem": str(error) or f"it did not answer within {WITHIN:g} s"}
