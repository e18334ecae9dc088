"""What an agent here is told in a task, and what it may return beside data.

    @handler(a2a=True)
    async def plan(self, turn: A2ATurn) -> str | NeedsInput:
        if "to " not in turn.text:
            return NeedsInput("Where do you want to go?")
        return f"A trip {turn.text}"

They travel over the bus as plain data, and `meant` finds them in what an agent answered.
"""

from typing import Any

import msgspec
from msgspec import UNSET, Struct

from three_mode.a2a.values import A2AMessage, A2APart

_KEY = "three_mode.a2a"


class A2ATurn(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message to an agent, and what was said before it."""

    parts: tuple[A2APart, ...]  #: parts of the message
    message_id: str = ""  #: made by the client: the same for a message that is sent twice
    task_id: str = ""  #: the task, which a next message may continue
    context_id: str = ""  #: the conversation that the task belongs to
    history: tuple[A2AMessage, ...] = ()  #: earlier messages and results of the conversation, oldest first
    metadata: dict[str, Any] = {}  #: values of the client

    @property
    def text(self) -> str:
        """The text of the message, a line for each part; data as JSON."""
        return "\n".join(part.said for part in self.parts if part.said)


class _Meant(Struct, frozen=True, tag_field=_KEY, omit_defaults=True):
    """Base of the values that an agent returns; the tag finds them in plain data."""


class NeedsInput(_Meant, frozen=True, tag="needs_input"):
    """The agent asks its user something: the task waits for the next message."""

    question: str  #: what the user is asked
    data: Any = None  #: a JSON value beside the question, such as a form


class Rejected(_Meant, frozen=True, tag="rejected"):
    """The agent does not take the task."""

    reason: str  #: why, for the user


class A2AAnswer(_Meant, frozen=True, tag="answer"):
    """A result that is more than one text or one JSON value."""

    parts: tuple[A2APart, ...]  #: the content
    name: str | None = None  #: a name for people
    description: str | None = None  #: what it is, for people

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("an answer has at least one part")


def meant(value: Any) -> "NeedsInput | Rejected | A2AAnswer | None":
    """What an agent returned; None for nothing. Text, bytes and data are answers of one part; ValueError for a value
    that says it is one of these and is not."""
    if isinstance(value, dict) and _KEY in value:
        found: NeedsInput | Rejected | A2AAnswer = msgspec.convert(value, NeedsInput | Rejected | A2AAnswer)
        return found
    if value is None:
        return None
    if isinstance(value, str):
        return A2AAnswer((A2APart(text=value),)) if value else None
    if isinstance(value, bytes):
        return A2AAnswer((A2APart(raw=value, media_type="application/octet-stream"),))
    if value is UNSET:
        return None
    return A2AAnswer((A2APart(data=_as_json(value)),))


def _as_json(value: Any) -> Any:
    """A value as JSON has it: keys are text, and there are no tuples, sets and dates."""
    try:
        return msgspec.json.decode(msgspec.json.encode(value))
    except (TypeError, ValueError, OverflowError, RecursionError, msgspec.MsgspecError) as error:
        raise ValueError(f"{type(value).__name__} is no JSON: {error}") from None
