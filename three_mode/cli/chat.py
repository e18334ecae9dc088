"""Subcommand `three-mode chat`: a conversation in the terminal with any model or agent.

The default is SmolLM2 where it was pulled, and else the small built-in model; neither needs a network.
"""

import argparse
import atexit
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from three_mode import sync
from three_mode.channels.local.names import how_to_get
from three_mode.chat import ChatSession, Conversation, KeptConversation, LineReader, Streamer
from three_mode.cli.console import open_console
from three_mode.cli.joining import address_on, agents_on, join
from three_mode.cli.load_flags import add_load_arguments, connection_options, given_flags
from three_mode.cli.loaded import loaded_words
from three_mode.config import Sources
from three_mode.errors import ConfigurationError, ThreeModeError
from three_mode.modes import names_files
from transports.bus import Bus

TINY, REAL = "tiny", "smollm2"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of the subcommand to its parser."""
    parser.add_argument(
        "model",
        nargs="?",
        help="a model, agent:NAME, gguf:PATH or hf:PATH "
        "(default: that of the config file, smollm2 if it was pulled, or tiny, which is always there)",
    )
    parser.add_argument("--model", dest="named", metavar="NAME", help="the same, as `serve` takes it")
    parser.add_argument("--talk", metavar="NAME", help="keep the talk under this name, and go on where it was")
    parser.add_argument("--say", metavar="TEXT", help="say this, print the answer and leave ('-': from standard input)")
    parser.add_argument("--system", default="", metavar="TEXT", help="the system prompt")
    parser.add_argument("--within", type=float, metavar="SECONDS", help="the deadline of each answer")
    parser.add_argument("--provider", help="whose model it is (default: the first that is available)")
    parser.add_argument("--base-url", metavar="URL", help="an OpenAI-compatible provider")
    parser.add_argument(
        "--bus", metavar="NAME", help="a running bus: the model is one of its agents, if it has that name"
    )
    parser.add_argument("--config", metavar="FILE", help="config file (default: as `three-mode config check` says)")
    add_load_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Runs the subcommand; returns the exit code."""
    console = Console()
    try:
        bus = sync.run(join(options.bus, "chat")) if options.bus else None
        settings = connection_options(options)
        with ExitStack() as stack:
            connection = stack.enter_context(
                sync.LLMConnection(options.provider, base_url=options.base_url, bus=bus, options=settings)
            )
            address = partial(_address, options, bus, connection.local_models())
            named = options.named or options.model or Sources(options.config).settings().model
            model = address(named or _best_here(connection.local_models()))
            if (flags := given_flags(options)) and not (names_files(model) or model in connection.local_models()):
                raise ConfigurationError(f"{flags}: for models of this computer alone, and {model} is none")
            streamer: Streamer = connection
            conversation = Conversation(model, options.system, options.within)
            if options.talk is not None:
                talks = stack.enter_context(sync.Conversations(_talks_file(), connection))
                conversation = streamer = KeptConversation(talks, options.talk, model, options.system, options.within)
            if options.say is not None:
                text = sys.stdin.read() if options.say == "-" else options.say
                return 0 if ChatSession(streamer, conversation, console, _no_lines).ask(text) else 1
            with console.status(f"loading {escape(model)}"):  # so that the time of the first answer does not include it
                local = connection.prepare(model)
            for line in loaded_words(connection.figures()) if local else ():
                console.print(f"[dim]{escape(line)}[/dim]", highlight=False, soft_wrap=True)
            if model == TINY and REAL not in connection.local_models():
                console.print(f"[dim]{TINY} knows a few tasks only. A model to talk with: {how_to_get(REAL)}[/dim]")
            ChatSession(streamer, conversation, console, _reader(), address).run()
        if bus is not None:
            sync.run(bus.leave())
    except ThreeModeError as error:
        open_console(stderr=True).print(f"[red]three-mode chat:[/red] {escape(str(error))}", soft_wrap=True)
        return 1
    return 0


def _best_here(local: Sequence[str]) -> str:
    """The model for a talk where none is named."""
    return REAL if REAL in local else TINY


def _address(options: argparse.Namespace, bus: Bus | None, local: Sequence[str], model: str) -> str:
    """The address of the model that is meant: with a bus, an agent of that name first."""
    if bus is None or ":" in model:
        return model
    address = address_on(bus, model)
    if address is not None:
        return address
    if model in local or options.provider or options.base_url:
        return model
    roles, _ = agents_on(bus)
    raise ConfigurationError(
        f"no agent {model!r} is on the bus {options.bus!r}",
        hint=f"its agents are {', '.join(roles) or 'none yet'}; a model of a provider needs --provider or --base-url",
    )


def _no_lines(prompt: str, prefilled: str) -> str:
    raise EOFError


def _reader() -> LineReader:
    """Reader of lines with editing and a saved history, where this Python has readline."""
    try:
        import readline
    except ImportError:
        return lambda prompt, _: input(prompt)
    history = _history_file()
    if history is not None:
        if history.exists():
            readline.read_history_file(history)
        readline.set_history_length(1000)
        atexit.register(readline.write_history_file, history)

    def read(prompt: str, prefilled: str) -> str:
        if prefilled:
            readline.set_startup_hook(lambda: readline.insert_text(prefilled))
        try:
            return input(prompt)
        finally:
            readline.set_startup_hook()

    return read


def _state_folder() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "three-mode"


def _talks_file() -> Path:
    """File of talks that are kept, in a folder that is there."""
    folder = _state_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"talks cannot be kept: {error}", hint="set XDG_STATE_HOME to a folder") from None
    return folder / "talks.db"


def _history_file() -> Path | None:
    """File of the history, readable by its owner alone; None where it cannot be made."""
    folder = _state_folder()
    path = folder / "chat-history"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600, exist_ok=True)
    except OSError:
        return None
    return path
