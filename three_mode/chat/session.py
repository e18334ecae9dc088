"""Session of a chat: reads lines, streams answers and shows errors. Ctrl-C ends an answer, not the chat."""

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from rich.console import Console
from rich.markup import escape

from three_mode.chat.commands import COMMANDS, parse
from three_mode.chat.conversation import Conversation
from three_mode.chat.interrupts import delayed_interrupt
from three_mode.chat.kept import KeptConversation
from three_mode.errors import ThreeModeError
from three_mode.messages import Chunk, Folding, LLMRequest, LLMResponse, ThinkingDelta


class Streamer(Protocol):
    """Connection for code without an event loop."""

    def stream(self, request: LLMRequest) -> AbstractContextManager[Iterable[Chunk]]:
        """Streams the chunks of an answer."""


class LineReader(Protocol):
    """Reader of typed lines. Raises EOFError after the last one."""

    def __call__(self, prompt: str, prefilled: str, /) -> str:
        """The next line; `prefilled` is text that the person may edit."""


class ChatSession:
    """One chat in the terminal."""

    def __init__(
        self,
        connection: Streamer,
        conversation: Conversation,
        console: Console,
        read: LineReader,
        address: Callable[[str], str] = str,
    ) -> None:
        self._connection, self._conversation, self._console, self._read = connection, conversation, console, read
        self._address = address  # of the model that a person names
        self._prefilled = ""

    def run(self) -> None:
        """Reads and handles lines until the person leaves."""
        self._print(f"[dim]talking to {escape(self._conversation.model)}; /help for commands[/dim]", highlight=False)
        interrupted = False
        while True:
            try:
                if interrupted:
                    interrupted = False
                    self._print("[dim](Ctrl-D or /quit to leave)[/dim]", highlight=False)
                prefilled, self._prefilled = self._prefilled, ""
                if not self.take(self._read("you> ", prefilled)):
                    return
            except EOFError:
                self._print()
                return
            except KeyboardInterrupt:
                interrupted = True

    def take(self, line: str) -> bool:
        """Handles one line; False for the one that ends the chat."""
        command = parse(line)
        if command.name is None:
            if command.text:
                self.ask(command.text)
            return True
        if command.name in ("quit", "exit", "q"):
            return False
        if command.name not in COMMANDS:
            self._print(f"no command /{escape(command.name)}; /help lists them")
        else:
            try:
                getattr(self, f"_{command.name}")(command.text)
            except ThreeModeError as error:  # of a talk that is kept
                self._print(escape(str(error)), soft_wrap=True, highlight=False)
        return True

    def ask(self, text: str) -> bool:
        """Streams the answer to a message.

        A part that came before Ctrl-C or an error is kept. False if nothing came.
        """
        request = self._conversation.say(text)
        folding, started, first = Folding(), time.perf_counter(), None
        stopped = ""
        try:
            with self._connection.stream(request) as chunks:
                for chunk in chunks:
                    with delayed_interrupt():  # the kept part is the part that was shown
                        folding.add(chunk)
                        if first is None and folding.has_content:
                            first = time.perf_counter() - started
                        self._show(chunk)
        except KeyboardInterrupt:
            stopped = "stopped"
        except ThreeModeError as error:
            stopped = f"[red]{type(error).__name__}[/red]: {escape(str(error))}"
        with delayed_interrupt():
            response = folding.response()
            if folding.has_content:
                self._conversation.answered(response)
                self._console.print()
            else:
                self._conversation.undo()
        if stopped:
            self._print(stopped, soft_wrap=True, highlight=False)
        self._print(_footer(response, first, time.perf_counter() - started), highlight=False)
        return folding.has_content

    def _print(self, *what: object, **how: Any) -> None:
        with delayed_interrupt():
            self._console.print(*what, **how)

    def _show(self, chunk: Chunk) -> None:
        if isinstance(chunk, ThinkingDelta):
            self._console.print(f"[dim]{escape(chunk.thinking)}[/dim]", end="", highlight=False)
        elif chunk.text:
            self._console.print(chunk.text, end="", markup=False, highlight=False, soft_wrap=True)

    def _help(self, _: str) -> None:
        for name, summary in COMMANDS.items():
            self._print(f"  [bold]/{name:8}[/bold] {summary}")

    def _model(self, text: str) -> None:
        try:
            self._conversation.model = self._address(text) if text else self._conversation.model
        except ThreeModeError as error:
            self._print(f"[red]{type(error).__name__}[/red]: {escape(str(error))}", soft_wrap=True, highlight=False)
            return
        self._print(f"[dim]talking to {escape(self._conversation.model)}[/dim]")

    def _system(self, text: str) -> None:
        self._conversation.system = text or self._conversation.system
        self._print(f"[dim]system: {escape(self._conversation.system) or '(none)'}[/dim]")

    def _edit(self, _: str) -> None:
        self._prefilled = self._conversation.undo() or ""
        if not self._prefilled:
            self._print("[dim]nothing was said yet[/dim]")

    def _retry(self, _: str) -> None:
        said = self._conversation.undo()
        if said is None:
            self._print("[dim]nothing was said yet[/dim]")
        else:
            self.ask(said)

    def _undo(self, _: str) -> None:
        said = self._conversation.undo()
        self._print(f"[dim]taken back: {escape(said)}[/dim]" if said else "[dim]nothing was said yet[/dim]")

    def _reset(self, _: str) -> None:
        self._conversation.reset()
        self._print("[dim]forgotten[/dim]")

    def _history(self, _: str) -> None:
        for said, response in self._conversation.turns:
            self._print(f"[bold]you>[/bold] {escape(said)}", highlight=False)
            if response is not None:
                self._print(response.content, markup=False, highlight=False)

    def _talks(self, _: str) -> None:
        kept = self._kept()
        for name, turns in kept.names() if kept is not None else ():
            mark = "*" if kept is not None and name == kept.name else " "
            self._print(f"{mark} {escape(name)}  [dim]{turns} turns[/dim]", highlight=False)

    def _talk(self, text: str) -> None:
        kept = self._kept()
        if kept is not None:
            if text:
                kept.open(text)
            self._print(f"[dim]in the talk {escape(kept.name)}[/dim]", highlight=False)

    def _fork(self, text: str) -> None:
        kept = self._kept()
        if kept is not None:
            self._print(f"[dim]in the talk {escape(kept.fork(text or None))}[/dim]", highlight=False)

    def _kept(self) -> KeptConversation | None:
        if isinstance(self._conversation, KeptConversation):
            return self._conversation
        self._print("[dim]this talk is not kept; begin with three-mode chat --talk NAME[/dim]", highlight=False)
        return None


def _footer(response: LLMResponse, first: float | None, total: float) -> str:
    """Mode, model, times, tokens and cost of an answer, in one line."""
    words = [response.mode.name, response.model] if response.model else []
    if first is not None:
        words.append(f"first token {_time(first)}")
    words.append(_time(total))
    if response.usage.total_tokens:
        words.append(f"{response.usage.input_tokens}+{response.usage.output_tokens} tokens")
    if response.usage.cost is not None:
        words.append(f"${response.usage.cost:.6f}")
    return f"[dim]{' · '.join(escape(word) for word in words)}[/dim]"


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{seconds * 1e3:.1f} ms"
