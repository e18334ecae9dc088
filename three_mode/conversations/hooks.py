"""What a conversation asks of tools, memory and persona. Any object with these methods will do."""

from collections.abc import Awaitable, Sequence
from typing import Protocol

from three_mode.messages import LLMRequest, LLMResponse, Message


class ToolRun(Protocol):
    """How a request with tools ended."""

    @property
    def reply(self) -> LLMResponse:
        """The last answer of the model, with the usage of all rounds."""
        ...

    @property
    def messages(self) -> Sequence[Message]:
        """The request's messages, and those that the model and the tools added."""
        ...


class ToolRunner(Protocol):
    """Runs a request, with the calls of tools that the model makes, to its end."""

    def run(self, request: LLMRequest) -> Awaitable[ToolRun]:
        """Ask the model, run the tools that it calls, ask again, until it answers."""
        ...


class TalkPersona(Protocol):
    """Who the model is in a conversation. A `three_mode.prompts.Persona` is one."""

    def lines(self) -> Sequence[str]:
        """What the model is told behind the system message."""
        ...

    def mood_lines(self) -> Sequence[str]:
        """What changes while a program runs; the model is told it last."""
        ...


class TalkMemory(Protocol):
    """What is known from elsewhere, for one turn. A `three_mode.memory.Memory` is one."""

    def recalled(self, messages: Sequence[Message]) -> Awaitable[Sequence[Message]]:
        """The messages of a turn with what is known about them, marked as data. The log keeps them as they were."""
        ...


def told(system: str, persona: TalkPersona | None) -> str:
    """A system message with a persona."""
    if persona is None:
        return system
    pieces = (system, "\n".join(persona.lines()), "\n".join(persona.mood_lines()))
    return "\n\n".join(piece for piece in pieces if piece)
