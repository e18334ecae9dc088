"""Tools for models that have none: they are described in the prompt, and calls are read out of the text.

The model is asked to write a call as `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`; what it wrote before
stays text. Results go back as user messages.
"""

import json
from collections.abc import Iterator

import msgspec

from three_mode.messages import LLMRequest, LLMResponse, Message, Part, Text, ToolCall, ToolResult
from three_mode.providers.pieces import encode_json
from three_mode.providers.schema import inlined

OPEN, CLOSE = "<tool_call>", "</tool_call>"


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
    count = 0
    for part in reply.parts:
        if not isinstance(part, Text):
            parts.append(part)
            continue
        for piece in _pieces(part.text):
            if isinstance(piece, ToolCall):
                count += 1
                piece = msgspec.structs.replace(piece, id=f"call_made_{count}")
            parts.append(piece)
    if not count:
        return reply
    reason = "tool_calls" if reply.finish_reason == "stop" else reply.finish_reason
    return msgspec.structs.replace(reply, parts=tuple(parts), finish_reason=reason)


def _instructions(request: LLMRequest) -> str:
    described = "\n".join(
        encode_json(
            {"name": t.name, "description": t.description, "parameters": inlined(t.parameters)}
        ).decode()
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
    if isinstance(message.content, str) or not any(
        isinstance(p, ToolCall | ToolResult) for p in message.content
    ):
        yield message
        return
    parts: list[Part] = []
    for part in message.content:
        if isinstance(part, ToolCall):
            call = encode_json({"name": part.name, "arguments": part.arguments}).decode()
            parts.append(Text(f"{OPEN}{call}{CLOSE}"))
        elif isinstance(part, ToolResult):
            said = part.content if isinstance(part.content, str) else "".join(
                each.text for each in part.content if isinstance(each, Text)
            )  # fmt: skip
            parts.append(Text(f"<tool_result>{said}</tool_result>"))
        else:
            parts.append(part)
    yield Message("user" if message.role == "tool" else message.role, tuple(parts), message.name)


def _pieces(text: str) -> Iterator[Text | ToolCall]:
    rest = text
    while OPEN in rest:
        before, _, after = rest.partition(OPEN)
        inside, closed, tail = after.partition(CLOSE)
        call = _call(inside)
        if call is None:
            yield Text(before + OPEN + inside + closed)
        else:
            if before.strip():
                yield Text(before.rstrip())
            yield call
        rest = tail
    if rest.strip():
        yield Text(rest)


def _call(text: str) -> ToolCall | None:
    try:
        value = json.loads(text)
    except ValueError:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("name"), str):
        return None
    arguments = value.get("arguments", {})
    return ToolCall("", value["name"], arguments) if isinstance(arguments, dict) else None
