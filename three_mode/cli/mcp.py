"""Subcommand `three-mode mcp`: the agents of a bus as tools, for a program that starts it and speaks MCP to it."""

import argparse
import asyncio
import os
import signal
import sys
from contextlib import AsyncExitStack, closing
from typing import TYPE_CHECKING

from three_mode.cli.console import open_console
from three_mode.cli.joining import join
from three_mode.errors import ThreeModeError

if TYPE_CHECKING:
    from three_mode.mcp.offered import ToolSource

WITHIN = 120.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument("--bus", required=True, metavar="NAME", help="a running bus, whose agents' tools are offered")
    parser.add_argument(
        "--within", type=float, default=WITHIN, metavar="SECONDS", help="time for each call (default: %(default)g)"
    )
    parser.add_argument("--models", action="store_true", help="also a tool that asks the models that are found")
    parser.add_argument("--config", metavar="FILE", help="config file for the models")


def run(options: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit code."""
    try:
        if not 0 < options.within < 1e9:
            options.parser.error("--within is a number of seconds above 0")
        asyncio.run(_serve(options, _own_output()))
    except (ThreeModeError, OSError) as error:
        shown = open_console(stderr=True)
        shown.print(f"three-mode mcp: {error}", style="red", markup=False, highlight=False, soft_wrap=True)
        return 1
    return 0


def _own_output() -> int:
    """A descriptor of standard output that is ours alone: what anything else prints goes to standard error, since each
    line of standard output is a message."""
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    return own


async def _serve(options: argparse.Namespace, output: int) -> None:
    from three_mode.cli.pipes import read_input, write_output
    from three_mode.connection import ConnectionOptions, LLMConnection
    from three_mode.mcp.offered import SeveralSources
    from three_mode.mcp.server import McpServer
    from three_mode.mcp.stdio_server import StdioServer
    from three_mode.modes import CommunicationMode
    from three_mode.serve.bus_verbs import BusVerbs
    from three_mode.serve.connected import Connected
    from three_mode.serve.surfaces.mcp.bus_tools import BusTools
    from three_mode.serve.surfaces.mcp.model_tools import ModelTools

    async with AsyncExitStack() as stack:
        bus = await join(options.bus, "mcp")
        stack.push_async_callback(bus.leave)
        agents = stack.enter_context(closing(BusTools(stack.enter_context(BusVerbs(bus)))))
        sources: list[ToolSource] = [agents]
        if options.models:
            settings = ConnectionOptions(config=options.config)
            connection = LLMConnection(mode=CommunicationMode.AUTO, options=settings, bus=bus)
            stack.push_async_callback(connection.close)
            connected = Connected(connection, bus)
            sources.append(ModelTools(connected.available_models, connected.chat_completion))
        read = await stack.enter_async_context(read_input(0))
        write = await stack.enter_async_context(write_output(output))
        serving = asyncio.ensure_future(
            StdioServer(McpServer(SeveralSources(sources)), read, write, options.within).run()
        )
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, serving.cancel)
        try:
            await serving
        except asyncio.CancelledError:
            if not serving.cancelled():
                raise
        except (BrokenPipeError, ConnectionResetError):
            pass  # the client has gone
