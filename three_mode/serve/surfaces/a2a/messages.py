"""Messages of A2A as an agent or a model here takes them. Pure."""

from collections.abc import Iterable, Sequence

import msgspec

from three_mode.a2a.faults import BAD_CONTENT, A2AFault
from three_mode.a2a.turns import A2ATurn
from three_mode.a2a.values import A2AMessage, A2APart, said_by
from three_mode.messages import Image, LLMRequest, Message, Text
from three_mode.serve.surfaces.a2a.record import TaskRecord

_FETCHED = ("https://", "http://")  # addresses that a model may be sent; a file of this computer is none of them


def said_before(record: TaskRecord, earlier: Iterable[TaskRecord]) -> list[A2AMessage]:
    """What was said in a conversation before the last message of a task: its other tasks first, each with its results,
    which are messages of the agent here."""
    found: list[A2AMessage] = []
    for other in earlier:
        if other.settled:
            found += other.history
            found += _results(other)
    return [*found, *record.history[:-1], *_results(record)]


def _results(record: TaskRecord) -> list[A2AMessage]:
    parts = tuple(part for artifact in record.results() for part in artifact.parts)
    return [said_by("ROLE_AGENT", parts, context_id=record.context, task_id=record.id)] if parts else []


def turn_of(record: TaskRecord, before: Sequence[A2AMessage]) -> A2ATurn:
    """The last message of a task as a handler takes it."""
    last = record.history[-1]
    return A2ATurn(
        parts=last.parts,
        message_id=last.message_id,
        task_id=record.id,
        context_id=record.context,
        history=tuple(before),
        metadata=last.metadata or {},
    )


def request_of(model: str, record: TaskRecord, before: Sequence[A2AMessage], within: float) -> LLMRequest:
    """The conversation as a model takes it."""
    messages = [_message(message) for message in (*before, record.history[-1])]
    return LLMRequest(model=model, messages=[message for message in messages if message is not None], within=within)


def _message(message: A2AMessage) -> Message | None:
    if message.role == "ROLE_AGENT":
        return Message("assistant", message.text) if message.text else None
    return Message("user", tuple(part_of(part) for part in message.parts))


def part_of(part: A2APart) -> Text | Image:
    """A part of a user's message; A2AFault for one that no model here can read."""
    if part.text is not None or (part.raw is None and part.url is None):
        return Text(part.said)
    kind = (part.media_type or "").lower()
    if part.raw is not None:
        if kind.startswith("image/"):
            return Image(data=part.raw, mime=kind)
        if kind.startswith("text/") or kind == "application/json":
            return Text(part.raw.decode("utf-8", "replace"))
    elif part.url is not None and kind.startswith("image/") and part.url.startswith(_FETCHED):
        return Image(url=part.url)
    what = f"a part of the media type {kind[:100]!r}" if kind else "a part without a media type"
    raise A2AFault(BAD_CONTENT, f"{what} cannot be read here: text, JSON and images can", "message.parts")


def plain(turn: A2ATurn) -> dict[str, object]:
    """A turn as data, which a handler's hint decodes."""
    found: dict[str, object] = msgspec.to_builtins(turn, builtin_types=(bytes,))
    return found
