"""Reads the command line and hands it to one subcommand."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

# Name -> one line of help. Each lives in `three_mode/cli/NAME.py` as `add_arguments(parser)` and `run(options) -> int`.
SUBCOMMANDS = {
    "chat": "a conversation with any model or agent; offline with the small model out of the box",
    "serve": "an OpenAI-compatible endpoint for models and agents",
    "agents": "lists the hosts and agents of a running bus",
    "top": "shows the agents of a running bus, live",
    "models": "lists, adds, inspects, removes and pulls models that run on this computer",
    "doctor": "checks what this machine offers and says what to do about the rest",
}


def parser_for(name: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="three-mode", description="A runtime for systems of many agents.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command, summary in SUBCOMMANDS.items():
        subparser = commands.add_parser(command, help=summary, description=summary)
        if command == name:  # the others are not imported: a command starts as fast as what it needs
            import_module(f"three_mode.cli.{command}").add_arguments(subparser)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = next((word for word in words if not word.startswith("-")), None)
    options = parser_for(name).parse_args(words)
    try:
        return int(import_module(f"three_mode.cli.{options.command}").run(options))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read what was printed has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
