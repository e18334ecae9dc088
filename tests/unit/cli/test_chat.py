"""A chat in the terminal: what is said, kept, taken back and shown, and what Ctrl-C and errors do."""

import io
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import pytest
from rich.console import Console

from three_mode.chat import COMMANDS, ChatSession, Command, Conversation, parse
from three_mode.errors import ConfigurationError, Overloaded, StreamInterrupted
from three_mode.messages import (
    Chunk,
    Finish,
    LLMRequest,
    Message,
    Start,
    Text,
    TextDelta,
    ThinkingDelta,
    Usage,
    UsageUpdate,
)
from three_mode.modes import CommunicationMode


@pytest.mark.parametrize(
    ("line", "command"),
    [
        ("Hello!", Command(None, "Hello!")),
        ("  ", Command(None, "")),
        ("/Model agent:brain ", Command("model", "agent:brain")),
        ("/quit", Command("quit", "")),
        ("//etc/passwd", Command(None, "/etc/passwd")),
    ],
)
def test_lines(line: str, command: Command) -> None:
    assert parse(line) == command


class Echo:
    """Answers with the last words; raises what a line says."""

    def __init__(self) -> None:
        self.asked: list[LLMRequest] = []
        self.left = 0

    @contextmanager
    def stream(self, request: LLMRequest) -> Iterator[Iterable[Chunk]]:
        self.asked.append(request)
        try:
            yield self._chunks(request.messages[-1].text)
        finally:
            self.left += 1

    def _chunks(self, said: str) -> Iterator[Chunk]:
        yield Start(model="echo", mode=CommunicationMode.AI_AI)
        if said == "busy":
            raise Overloaded("the mailbox is full")
        yield ThinkingDelta("hm. ")
        yield TextDelta(f"you said [{said}]")
        if said == "ctrl-c":
            raise KeyboardInterrupt
        if said == "break":
            raise StreamInterrupted("the line went dead")
        yield UsageUpdate(Usage(5, 3))
        yield Finish()


@pytest.fixture(autouse=True)
def a_terminal_of_its_own() -> Iterator[None]:
    """What is started in the background begins without Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


class Interrupted(io.StringIO):
    """A terminal at which Ctrl-C is typed while it shows a text: `before` it is there, or when it is."""

    def __init__(self, text: str, before: bool) -> None:
        super().__init__()
        self._text, self._before, self._typed = text, before, False

    def write(self, shown: str) -> int:
        if self._before and self._text in shown:
            self._type()
        return super().write(shown)

    def flush(self) -> None:
        if self._text in self.getvalue():
            self._type()

    def _type(self) -> None:
        if not self._typed:
            self._typed = True
            signal.raise_signal(signal.SIGINT)


def chat(*lines: str, file: io.StringIO | None = None) -> tuple[Echo, Conversation, str]:
    echo, conversation = Echo(), Conversation("echo", "Be brief.", within=5.0)
    console = Console(file=file or io.StringIO(), width=100)
    waiting = iter(lines)
    typed: list[str] = []

    def read(prompt: str, prefilled: str) -> str:
        line = next(waiting, None)
        if line is None:
            raise EOFError
        if line == "^C":
            raise KeyboardInterrupt
        typed.append(prefilled + line)
        return prefilled + line

    ChatSession(echo, conversation, console, read).run()
    assert isinstance(console.file, io.StringIO)
    return echo, conversation, console.file.getvalue()


def test_a_conversation_is_sent_whole_each_time() -> None:
    echo, conversation, shown = chat("one", "", "two")
    assert [message.role for message in echo.asked[1].messages] == ["system", "user", "assistant", "user"]
    assert echo.asked[1].within == 5.0
    assert "you said [one]" in shown, "what a model says is never taken for markup"
    assert "AI_AI · echo" in shown
    assert "5+3 tokens" in shown
    assert len(conversation) == 2


def test_ctrl_c_ends_the_answer_and_keeps_what_came() -> None:
    echo, conversation, shown = chat("ctrl-c", "more", "^C")
    assert echo.left == 2, "the stream was left"
    assert Message("assistant", echo.asked[1].messages[2].parts).text == "you said [ctrl-c]"
    assert "stopped" in shown
    assert "Ctrl-D" in shown
    assert len(conversation) == 2


@pytest.mark.parametrize("before", [True, False])
def test_ctrl_c_while_a_piece_is_shown_lets_it_be_shown_once(before: bool) -> None:
    echo, conversation, shown = chat("one", "two", file=Interrupted("you said [one]", before))
    assert shown.count("you said [one]") == 1
    assert shown.count("stopped") == 1
    assert shown.index("you said [one]") < shown.index("stopped") < shown.index("you said [two]")
    assert Message("assistant", echo.asked[1].messages[2].parts).text == "you said [one]"
    assert [said for said, _ in conversation.turns] == ["one", "two"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("text", ["stopped", "echo · first token", "you>", "(Ctrl-D"])
def test_ctrl_c_while_something_else_is_shown_does_not_end_the_chat(text: str, before: bool) -> None:
    lines = ("ctrl-c", "/history", "^C", "two")
    echo, _, shown = chat(*lines, file=Interrupted(text, before))
    assert [request.messages[-1].text for request in echo.asked] == ["ctrl-c", "two"]
    assert shown.count("you said [two]") == 1
    assert shown.count("you said [ctrl-c]") in (1, 2), "once as it came, and once in the history"
    assert "(Ctrl-D or /quit to leave)" in shown


def test_a_second_ctrl_c_does_not_wait_for_a_terminal_that_takes_nothing() -> None:
    class Stuck(io.StringIO):
        stuck = True

        def write(self, shown: str) -> int:
            if self.stuck and "you said" in shown:
                for self.stuck in (True, False):
                    signal.raise_signal(signal.SIGINT)
                raise AssertionError("it would wait for ever")
            return super().write(shown)

    _, conversation, shown = chat("one", "/reset", file=Stuck())
    assert "stopped" in shown
    assert len(conversation) == 0


def test_an_error_is_shown_and_the_chat_goes_on() -> None:
    echo, conversation, shown = chat("busy", "break", "fine")
    assert "Overloaded: the mailbox is full" in shown
    assert "StreamInterrupted: the line went dead" in shown
    assert [said for said, _ in conversation.turns] == ["break", "fine"], "a turn without any answer is taken back"
    assert len(echo.asked) == 3


def test_commands() -> None:
    echo, conversation, shown = chat(
        "/help",
        "/model agent:brain",
        "/system Be kind.",
        "/undo",
        "/retry",
        "first",
        "/retry",
        "/edit",
        " and more",
        "/history",
        "/nonsense",
        "/reset",
        "/edit",
        "/quit",
        "never",
    )
    assert all(f"/{name}" in shown for name in COMMANDS)
    assert [request.messages[-1].text for request in echo.asked] == ["first", "first", "first and more"]
    assert echo.asked[0].model == "agent:brain"
    assert echo.asked[0].system == "Be kind."
    assert "no command /nonsense" in shown
    assert "never" not in shown
    assert len(conversation) == 0


def test_a_model_is_named_as_on_the_command_line() -> None:
    def address(name: str) -> str:
        if name == "nobody":
            raise ConfigurationError("no agent 'nobody' is on the bus")
        return f"agent:{name}"

    echo, conversation = Echo(), Conversation("echo")
    console = Console(file=io.StringIO(), width=100)
    session = ChatSession(echo, conversation, console, lambda prompt, prefilled: "", address)
    for line in ("/model clerk", "one", "/model nobody", "two", "/model", "three"):
        assert session.take(line)
    assert [request.model for request in echo.asked] == ["agent:clerk"] * 3
    assert isinstance(console.file, io.StringIO)
    assert "ConfigurationError: no agent 'nobody'" in console.file.getvalue()


def test_thinking_goes_back_with_the_answer() -> None:
    echo, _, _ = chat("one", "two")
    assert [type(part) for part in echo.asked[1].messages[2].parts][-1] is Text
    assert len(echo.asked[1].messages[2].parts) == 2
