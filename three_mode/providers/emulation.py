"""Emulation of tools for models that have none: the prompt describes the tools, and calls are read from the text.

The prompt asks for calls of the form `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`. Text before a call
stays text. Results go back as user messages. Text is passed on as soon as it cannot be part of a call.
"""

import json
from collections.abc import Iterator

import msgspec

from three_mode.messages import Image, LLMRequest, LLMResponse, Message, Part, Text, ToolCall, ToolResult
from three_mode.providers.pieces import encode_json
from three_mode.providers.schema import inlined

START_MARK, END_MARK = "<tool_call>", "</tool_call>"
MOST_BLANKS = 200  # blanks that are held back before a call; more of them are text


def with_tools_in_prompt(request: LLMRequest) -> LLMRequest:
    """Converts a request for a model without tools."""
    messages = [
        Message("system", _instructions(request)),
        *(each for message in request.messages for each in _as_text(message)),
    ]
    return msgspec.structs.replace(request, messages=tuple(messages), tools=(), tool_choice=None)


def calls_from_text(reply: LLMResponse) -> LLMResponse:
    """Replaces calls in the text of a reply by tool calls. A call that is no JSON stays text."""
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
    """Appends pieces; adjacent texts become one part."""
    for piece in pieces:
        last = parts[-1] if parts else None
        if isinstance(piece, Text) and isinstance(last, Text):
            parts[-1] = Text(last.text + piece.text)
        else:
            parts.append(piece)


class CallsInText:
    """Splits text, in any pieces, into text and calls.

    It holds back a possible start of a call, and the blanks before it.
    """

    def __init__(self) -> None:
        self.found = 0
        self._held = ""  # blanks, then the start of a mark
        self._call: list[str] | None = None  # text behind the mark of a call, in pieces
        self._end = ""  # end of that text, which may hold the start of an end mark

    def feed(self, text: str) -> list[Text | ToolCall]:
        """Splits the next piece of text."""
        out: list[Text | ToolCall] = []
        while text:
            text = self._outside(text, out) if self._call is None else self._inside(text, out)
        return out

    def finish(self) -> list[Text | ToolCall]:
        """Ends the text. A call without an end mark counts if its JSON is whole."""
        out: list[Text | ToolCall] = []
        if self._call is not None:
            self._end_call("", out)
        elif self._held.strip() or not self.found:
            self._add_text(self._held, out)
        self._held = ""
        return out

    def _outside(self, text: str, out: list[Text | ToolCall]) -> str:
        before, mark, after = (self._held + text).partition(START_MARK)
        sure = before[: len(before) - (0 if mark else _possible_start(before, START_MARK))].rstrip()
        blanks = before[len(sure) :]
        if len(blanks) > MOST_BLANKS:
            sure, blanks = before, ""
        self._held = blanks  # dropped before a call
        self._add_text(sure, out)
        if mark:
            self._call, self._end = [], ""
        return after

    def _inside(self, text: str, out: list[Text | ToolCall]) -> str:
        assert self._call is not None
        self._call.append(text)
        self._end += text
        if END_MARK not in self._end:
            self._end = self._end[1 - len(END_MARK) :]
            return ""
        inside, mark, after = "".join(self._call).partition(END_MARK)
        self._call = [inside]
        self._end_call(mark, out)
        return after

    def _end_call(self, mark: str, out: list[Text | ToolCall]) -> None:
        inside, self._call = "".join(self._call or ()), None
        call = _call(inside)
        if call is None:
            self._add_text(self._held + START_MARK + inside + mark, out)
        else:
            self.found += 1
            out.append(msgspec.structs.replace(call, id=f"call_made_{self.found}"))
        self._held = ""

    def _add_text(self, text: str, out: list[Text | ToolCall]) -> None:
        if text:
            out.append(Text(text))


def _possible_start(text: str, mark: str) -> int:
    """Number of last characters that may be the start of the mark."""
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
        f'To call one, write {START_MARK}{{"name": "...", "arguments": {{...}}}}{END_MARK} and nothing after it; '
        f"several calls may follow each other. You will get their results. {must}"
    )


def _as_text(message: Message) -> Iterator[Message]:
    """Converts calls and results in a message to text."""
    if isinstance(message.content, str) or not any(isinstance(p, ToolCall | ToolResult) for p in message.content):
        yield message
        return
    parts: list[Part] = []
    for part in message.content:
        if isinstance(part, ToolCall):
            arguments = part.arguments if part.raw is None else part.raw
            call = encode_json({"name": part.name, "arguments": arguments}).decode()
            parts.append(Text(f"{START_MARK}{call}{END_MARK}"))
        elif isinstance(part, ToolResult):
            content = (Text(part.content),) if isinstance(part.content, str) else part.content
            text = "".join(each.text for each in content if isinstance(each, Text))
            prefix = "Error: " if part.is_error else ""
            parts.append(Text(f"<tool_result>{prefix}{text}</tool_result>"))
            parts += [each for each in content if isinstance(each, Image)]
        else:
            parts.append(part)
    yield Message("user" if message.role == "tool" else message.role, tuple(parts), message.name)


def _call(text: str) -> ToolCall | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments", {})
    return ToolCall("", value["name"], arguments) if isinstance(arguments, dict) else None
