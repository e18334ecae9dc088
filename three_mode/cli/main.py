"""Reads the command line and hands it to one subcommand."""

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

import three_mode

# Name -> one line of help. Each lives in `three_mode/cli/NAME.py` as `add_arguments(parser)` and `run(options) -> int`.
SUBCOMMANDS = {
    "chat": "a conversation with any model or agent; offline with the small model out of the box",
    "serve": "an OpenAI-compatible endpoint for models and agents",
    "agents": "lists the hosts and agents of a running bus",
    "top": "shows the agents of a running bus, live",
    "models": "lists, adds, inspects, removes and pulls models that run on this computer",
    "doctor": "checks what this machine offers and says what to do about the rest",
}


def options_of(words: Sequence[str]) -> argparse.Namespace:
    """What is wrong with a subcommand's words is said with that one's usage."""
    name = next((word for word in words if not word.startswith("-")), None)
    parser = parser_for(name)
    options, unknown = parser.parse_known_args(words)
    if unknown:
        own: argparse.ArgumentParser = options.parser
        own.error(f"unrecognized arguments: {' '.join(unknown)}")
    return options


def parser_for(name: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="three-mode", description="A runtime for systems of many agents.")
    parser.add_argument("--version", action=_Version, nargs=0, help="shows the version and ends")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command, summary in SUBCOMMANDS.items():
        subparser = commands.add_parser(command, help=summary, description=summary)
        subparser.set_defaults(parser=subparser)
        if command == name:  # the others are not imported: a command starts as fast as what it needs
            import_module(f"three_mode.cli.{command}").add_arguments(subparser)
    return parser


class _Version(argparse.Action):
    """Looks the version up when it is asked for: a subcommand need not wait for that."""

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
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = options_of(words)
    try:
        return int(import_module(f"three_mode.cli.{options.command}").run(options))
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read what was printed has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
