"""Entry point of the `three-mode` command: parses the command line and runs one subcommand."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import three_mode

# Name -> one line of help. `three_mode/cli/NAME.py` defines `add_arguments(parser)` and `run(options) -> int`.
SUBCOMMANDS = {
    "chat": "a conversation with any model or agent; offline with the small model out of the box",
    "serve": "an OpenAI-compatible endpoint for models and agents",
    "mcp": "offers the agents of a running bus as tools over standard input and output (MCP)",
    "buses": "lists the buses that run on this machine",
    "node": "makes this machine part of a cluster: its hosts run agents that other nodes place on them",
    "agents": "lists the hosts and agents of a running bus",
    "top": "shows the agents of a running bus, live",
    "watch": "opens a page on a running bus, or on a recording: look on, replay, steer",
    "models": "lists, adds, inspects, removes and pulls models that run on this computer",
    "report": "sums up a records file: what calls cost, how fast they were, how they ended",
    "config": "checks the settings in force and says where each comes from",
    "doctor": "checks what this machine offers and says what to do about the rest",
}


def options_of(words: Sequence[str]) -> argparse.Namespace:
    """Parses the words of a command line. An error in a subcommand's words shows the usage of that subcommand."""
    name = next((word for word in words if not word.startswith("-")), None)
    parser = parser_for(name)
    options, unknown = parser.parse_known_args(words)
    if unknown:
        subparser: argparse.ArgumentParser = options.parser
        subparser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return options


def parser_for(name: str | None) -> argparse.ArgumentParser:
    """Parser of the command, with the arguments of the subcommand `name`."""
    parser = argparse.ArgumentParser(prog="three-mode", description="A runtime for systems of many agents.")
    parser.add_argument("--version", action=_Version, nargs=0, help="shows the version and ends")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command, summary in SUBCOMMANDS.items():
        subparser = commands.add_parser(command, help=summary, description=summary)
        subparser.set_defaults(parser=subparser)
        if command == name:  # the others are not imported, so that the command starts fast
            import_module(f"three_mode.cli.{command}").add_arguments(subparser)
    return parser


class _Version(argparse.Action):
    """Shows the version. It is looked up by this option alone, so that no subcommand waits for it."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        print(f"three-mode {three_mode.__version__}")
        parser.exit()


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = options_of(words)
    try:
        return int(import_module(f"three_mode.cli.{options.command}").run(options))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of the output has closed it, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
