"""Tools for models that have none: they are described in the prompt, and calls are read out of the text.

The model is asked to write a call as `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`; what it wrote before
stays text. Results go back as user messages. Text is given on as soon as it is sure that it is no call.
"""

import json
from collections.abc import Iterator

import msgspec

from three_mode.messages import Image, LLMRequest, LLMResponse, Message, Part, Text, ToolCall, ToolResult
from three_mode.providers.pieces import encode_json
from three_mode.providers.schema import inlined

OPEN, CLOSE = "<tool_call>", "</tool_call>"
MOST_BLANKS = 200  # of those before a call; more than that are text


def with_tools_in_prompt(request: LLMRequest) -> LLMRequest:
    """The same request for a model without tools."""
    messages = [
        Message("system", _instructions(request)),
        *(each for m in request.messages for each in _plain(m)),
    ]
    return msgspec.structs.replace(request, messages=tuple(messages), tools=(), tool_choice=None)


def calls_from_text(reply: LLMResponse) -> LLMResponse:
    """The reply with the calls that its text holds. What is no call, or no JSON, stays text."""
    parts: list[Part] = []
    calls = CallsInText()
    for part in reply.parts:
        if isinstance(part, Text):
            _extend(parts, calls.feed(part.text) + calls.finish())
        else:
            parts.append(part)
    if not calls.found:
        return reply
    reason = "tool_calls" if reply.finish_reason == "stop" else reply.finish_reason
    return msgspec.structs.replace(reply, parts=tuple(parts), finish_reason=reason)


def _extend(parts: list[Part], pieces: list[Text | ToolCall]) -> None:
    """Text that no call divides is one part."""
    for piece in pieces:
        last = parts[-1] if parts else None
        if isinstance(piece, Text) and isinstance(last, Text):
            parts[-1] = Text(last.text + piece.text)
        else:
            parts.append(piece)


class CallsInText:
    """Text in any pieces, text and calls out. Held back is only what may still become a call, and the blanks before it."""

    def __init__(self) -> None:
        self.found = 0
        self._held = ""  # blanks, then the beginning of a mark
        self._call: list[str] | None = None  # what came after the mark of a call, in pieces
        self._end = ""  # the last of it, where its end mark may have begun

    def feed(self, text: str) -> list[Text | ToolCall]:
        out: list[Text | ToolCall] = []
        while text:
            text = self._outside(text, out) if self._call is None else self._inside(text, out)
        return out

    def finish(self) -> list[Text | ToolCall]:
        """There is no more: a call whose end mark is missing is a call, if it is whole."""
        out: list[Text | ToolCall] = []
        if self._call is not None:
            self._end_call("", out)
        elif self._held.strip() or not self.found:
            self._say(self._held, out)
        self._held = ""
        return out

    def _outside(self, text: str, out: list[Text | ToolCall]) -> str:
        before, mark, after = (self._held + text).partition(OPEN)
        said = before[: len(before) - (0 if mark else _may_begin(before, OPEN))].rstrip()
        blanks = before[len(said) :]
        if len(blanks) > MOST_BLANKS:
            said, blanks = before, ""
        self._held = blanks  # they go, unless it is no call
        self._say(said, out)
        if mark:
            self._call, self._end = [], ""
        return after

    def _inside(self, text: str, out: list[Text | ToolCall]) -> str:
        assert self._call is not None
        self._call.append(text)
        self._end += text
        if CLOSE not in self._end:
            self._end = self._end[1 - len(CLOSE) :]
            return ""
        inside, mark, after = "".join(self._call).partition(CLOSE)
        self._call = [inside]
        self._end_call(mark, out)
        return after

    def _end_call(self, mark: str, out: list[Text | ToolCall]) -> None:
        inside, self._call = "".join(self._call or ()), None
        call = _call(inside)
        if call is None:
            self._say(self._held + OPEN + inside + mark, out)
        else:
            self.found += 1
            out.append(msgspec.structs.replace(call, id=f"call_made_{self.found}"))
        self._held = ""

    def _say(self, text: str, out: list[Text | ToolCall]) -> None:
        if text:
            out.append(Text(text))


def _may_begin(text: str, mark: str) -> int:
    """How many of the last characters may be the beginning of the mark."""
    return next((size for size in range(min(len(mark) - 1, len(text)), 0, -1) if mark.startswith(text[-size:])), 0)


def _instructions(request: LLMRequest) -> str:
    described = "\n".join(
        encode_json({"name": t.name, "description": t.description, "parameters": inlined(t.parameters)}).decode()
        for t in request.tools
    )
    choice = request.tool_choice or "auto"
    must = {
        "auto": "Call one when it helps; otherwise answer.",
        "none": "Do not call any of them now.",
        "required": "You must call at least one of them now.",
    }.get(choice, f"You must call {choice} now.")
    return (
        f"You can call these functions, each with a JSON Schema for its arguments:\n{described}\n\n"
        f'To call one, write {OPEN}{{"name": "...", "arguments": {{...}}}}{CLOSE} and nothing after it; '
        f"several calls may follow each other. You will get their results. {must}"
    )


def _plain(message: Message) -> Iterator[Message]:
    """Calls and results as text, which is all that such a model reads."""
    if isinstance(message.content, str) or not any(isinstance(p, ToolCall | ToolResult) for p in message.content):
        yield message
        return
    parts: list[Part] = []
    for part in message.content:
        if isinstance(part, ToolCall):
            given = part.arguments if part.raw is None else part.raw
            call = encode_json({"name": part.name, "arguments": given}).decode()
            parts.append(Text(f"{OPEN}{call}{CLOSE}"))
        elif isinstance(part, ToolResult):
            held = (Text(part.content),) if isinstance(part.content, str) else part.content
            said = "".join(each.text for each in held if isinstance(each, Text))
            failed = "Error: " if part.is_error else ""
            parts.append(Text(f"<tool_result>{failed}{said}</tool_result>"))
            parts += [each for each in held if isinstance(each, Image)]
        else:
            parts.append(part)
    yield Message("user" if message.role == "tool" else message.role, tuple(parts), message.name)


def _call(text: str) -> ToolCall | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments", {})
    return ToolCall("", value["name"], arguments) if isinstance(arguments, dict) else None
