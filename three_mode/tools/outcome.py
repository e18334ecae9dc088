"""Outcome of one tool call, and the text of it that the model reads."""

from typing import Any, Literal

import msgspec
from msgspec import Struct

from three_mode.messages import Image, Text, ToolCall, ToolResult
from three_mode.tools.foreign import encode_foreign

#: How a tool call ended.
CallStatus = Literal["ok", "cut", "unknown", "arguments", "failed", "timeout", "refused", "not_run"]

_encode = msgspec.json.Encoder(enc_hook=encode_foreign).encode


class ToolOutcome(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How one tool call ended. Whatever went wrong is a result that the model reads.

    `status` is "ok", "cut" (the result was longer than `result_limit`), "unknown" (no such tool), "arguments" (they do
    not fit), "failed" (the tool raised), "timeout", "refused" (by `approve`), or "not_run" (a limit of the run came
    first).
    """

    call: ToolCall  #: the call, as the model made it
    result: ToolResult  #: the result, as the model reads it
    status: CallStatus  #: how it ended
    round: int  #: round of the run that the call belongs to; the first is 1
    at: float = 0.0  #: seconds from the start of the run to the start of the call
    seconds: float = 0.0  #: how long it took
    whole: str | None = None  #: the whole text of a result that was cut

    @property
    def failed(self) -> bool:
        """Whether the model reads of an error."""
        return self.result.is_error


def outcome_of_left_out(call: ToolCall, number: int, at: float, why: str) -> ToolOutcome:
    """The outcome of a call that did not run, or not to its end: providers want a result for each call."""
    result = ToolResult(call.id, f"not run: {why}", call.name, is_error=True)
    return ToolOutcome(call=call, result=result, status="not_run", round=number, at=at)


def result_content(value: Any) -> str | tuple[Text | Image, ...]:
    """A tool's result as content of a message: text and images as they are, all else as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, Text | Image):
        return (value,)
    if isinstance(value, list | tuple) and value and all(isinstance(part, Text | Image) for part in value):
        return tuple(value)
    return _encode(value).decode()


def cut_content(
    content: str | tuple[Text | Image, ...], limit: int, then: str = "ask for less"
) -> tuple[str | tuple[Text | Image, ...], str | None]:
    """The content with at most `limit` characters of text, and its whole text where it was cut.

    A note says that it was, and what to do `then`.
    """
    if isinstance(content, str):
        return (
            (content, None) if len(content) <= limit else (content[:limit] + _note(len(content), limit, then), content)
        )
    whole = "".join(part.text for part in content if isinstance(part, Text))
    if len(whole) <= limit:
        return content, None
    left, kept = limit, list[Text | Image]()
    for part in content:
        if isinstance(part, Image):
            kept.append(part)
        elif left > 0:
            kept.append(Text(part.text[:left]))
            left -= len(part.text)
    return (*kept, Text(_note(len(whole), limit, then))), whole


def _note(length: int, limit: int, then: str) -> str:
    return f"\n[cut: the first {limit} of {length} characters; {then}]"
