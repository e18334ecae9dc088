"""Subcommand `three-mode agents BUS`, or `--cluster URL --name NAME`: lists the hosts and agents of a bus, or of all
nodes."""

import argparse
import asyncio
import time

import msgspec
from rich.console import Console

from three_mode.cli import cluster_client
from three_mode.cli.agents_view import tables
from three_mode.cli.console import open_console
from three_mode.errors import ThreeModeError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument("bus", nargs="?", help="the name of the bus, as its orchestrator has it")
    cluster_client.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.add_argument("--letters", action="store_true", help="dead letters instead: messages that reached nobody")
    parser.add_argument("--events", action="store_true", help="what happened to hosts and agents instead")


def run(options: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit code."""
    console = open_console()
    try:
        return asyncio.run(_show(options, console))
    except ThreeModeError as error:
        open_console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1


async def _show(options: argparse.Namespace, console: Console) -> int:
    async with cluster_client.client_of(options) as client:
        if options.letters or options.events:
            found = await (client.dead_letters() if options.letters else client.events())
            if options.json:
                print(msgspec.json.encode(found).decode())
            else:
                for entry in found:
                    when = time.strftime("%H:%M:%S", time.localtime(entry.when))
                    console.print(f"{when}  {entry}", highlight=False, markup=False, soft_wrap=True)
            return 0
        table = await client.table()
    if options.json:
        print(msgspec.json.encode(table).decode())
    else:
        for part in tables(table):
            console.print(part)
    return 0
