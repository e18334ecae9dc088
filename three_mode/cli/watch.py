"""Subcommand `three-mode watch BUS|FILE`: opens a page on a running bus, or on a recording, until Ctrl-C."""

import argparse
import asyncio
import webbrowser
from contextlib import AsyncExitStack
from pathlib import Path

from three_mode.cli.console import open_console
from three_mode.cli.joining import join
from three_mode.connection import LLMConnection
from three_mode.errors import ThreeModeError
from three_mode.modes import CommunicationMode
from three_mode.page.content import PageContent
from three_mode.page.recordings.film import Film
from three_mode.serve.bus_verbs import BusVerbs
from three_mode.serve.page_endpoint import PageEndpoint
from three_mode.serve.server import until_signalled


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument("what", metavar="BUS|FILE", help="the name of a running bus, or a recording (run.rec)")
    parser.add_argument("--port", type=int, default=0, metavar="N", help="port of the page on loopback (any free one)")
    parser.add_argument(
        "--import",
        dest="imports",
        action="append",
        default=[],
        metavar="MODULE",
        help="of a recording: a module, package or script whose classes a replay may make and run",
    )
    parser.add_argument("--talks", default="", metavar="FILE", help="of a bus: list and go on with these conversations")
    parser.add_argument("--no-open", action="store_true", help="print the address, and open no browser")


def run(options: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit code."""
    try:
        asyncio.run(_watch(options))
    except (ThreeModeError, OSError) as error:
        open_console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    return 0


async def _watch(options: argparse.Namespace) -> None:
    async with AsyncExitStack() as stack:
        verbs: BusVerbs | None = None
        if is_recording(options.what):
            film = await asyncio.to_thread(Film, options.what, options.imports)
            stack.push_async_callback(film.close)
            content = PageContent(recording=film)
        else:
            bus = await join(options.what, "page")
            stack.push_async_callback(bus.leave)
            content, verbs = PageContent(bus, talks=options.talks), stack.enter_context(BusVerbs(bus))
        llm = LLMConnection(mode=CommunicationMode.AUTO, bus=content.bus)
        stack.push_async_callback(llm.close)
        page = await PageEndpoint.open(content, llm, verbs, options.port)
        stack.push_async_callback(page.close)
        print(page.address, flush=True)
        if not options.no_open:
            await asyncio.to_thread(webbrowser.open, page.address)
        await until_signalled()


def is_recording(what: str) -> bool:
    """Whether what is to be watched is a file, and no bus."""
    return Path(what).suffix == ".rec" or "/" in what
