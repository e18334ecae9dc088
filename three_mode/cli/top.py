"""Subcommand `three-mode top BUS`, or `--cluster URL --name NAME`: shows a live table of a running bus, or a cluster.

Keys: s sort, up and down select an agent, p pause, r restart, x stop, k kill its host, q quit.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
from rich.console import Console, Group
from rich.live import Live

from three_mode.cli import cluster_client
from three_mode.cli.agents_view import View, split_keys, tables
from three_mode.cli.console import open_console
from three_mode.errors import ThreeModeError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument("bus", nargs="?", help="the name of the bus, as its orchestrator has it")
    cluster_client.add_arguments(parser)
    parser.add_argument("--every", type=float, default=1.0, metavar="SECONDS", help="time between two tables (1)")
    parser.add_argument("--times", type=int, default=0, metavar="N", help="end after N tables (0: at q)")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each table, for programs")


def run(options: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit code."""
    console = open_console()
    try:
        return asyncio.run(_watch(options, console))
    except ThreeModeError as error:
        open_console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1


async def _watch(options: argparse.Namespace, console: Console) -> int:
    async with cluster_client.client_of(options) as client:
        if options.json:
            return await _print_json(client, options)
        view, keys = View(), asyncio.Queue[str](maxsize=16)
        with _keyboard(keys), Live(console=console, auto_refresh=False, screen=console.is_terminal) as live:
            shown = 0
            while not view.over:
                table = await client.table()
                view.seen(table)
                live.update(Group(*tables(table, view, console.height)), refresh=True)
                shown += 1
                if shown == options.times:
                    break
                try:
                    async with asyncio.timeout(options.every):
                        order = view.key(await keys.get())
                except TimeoutError:
                    continue
                if order is not None:
                    try:
                        await client.order(*order)
                    except ThreeModeError as error:
                        view.message = str(error)
    return 0


async def _print_json(client: Any, options: argparse.Namespace) -> int:
    shown = 0
    while True:
        print(msgspec.json.encode(await client.table()).decode(), flush=True)
        shown += 1
        if shown == options.times:
            return 0
        await asyncio.sleep(options.every)


@contextmanager
def _keyboard(keys: "asyncio.Queue[str]") -> Iterator[None]:
    """Puts keys into the queue as they are pressed; does nothing without a terminal."""
    if not sys.stdin.isatty():
        yield
        return
    import termios
    import tty

    loop, fd = asyncio.get_running_loop(), sys.stdin.fileno()
    before = termios.tcgetattr(fd)

    def pressed() -> None:
        for key in split_keys(os.read(fd, 64).decode(errors="replace")):
            if not keys.full():
                keys.put_nowait(key)

    tty.setcbreak(fd)
    loop.add_reader(fd, pressed)
    try:
        yield
    finally:
        loop.remove_reader(fd)
        termios.tcsetattr(fd, termios.TCSADRAIN, before)
