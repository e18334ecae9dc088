"""What was said, as spans hold it where a program asks for it: JSON of the gen_ai conventions."""

from collections.abc import Sequence
from typing import Any

import msgspec

from three_mode.messages import Image, LLMRequest, LLMResponse, Message, Part, Text, Thinking, ToolCall, ToolResult


def content_of_request(request: LLMRequest) -> dict[str, str]:
    """Attributes with the messages of a request."""
    system = [part for message in request.messages if message.role == "system" for part in _parts(message.parts)]
    rest = [_message(message) for message in request.messages if message.role != "system"]
    attributes = {"gen_ai.input.messages": json_text(rest)}
    if system:
        attributes["gen_ai.system_instructions"] = json_text(system)
    return attributes


def content_of_reply(reply: LLMResponse) -> dict[str, str]:
    """Attributes with what a reply says."""
    said = {"role": "assistant", "parts": _parts(reply.parts), "finish_reason": reply.finish_reason}
    return {"gen_ai.output.messages": json_text([said])}


def json_text(value: Any) -> str:
    """JSON of a value; of what JSON cannot hold, its text."""
    return msgspec.json.encode(value, enc_hook=str).decode()


def _message(message: Message) -> dict[str, Any]:
    return {"role": message.role, "parts": _parts(message.parts)}


def _parts(parts: Sequence[Part]) -> list[dict[str, Any]]:
    return [_part(part) for part in parts]


def _part(part: Part) -> dict[str, Any]:
    match part:
        case Text(text=text):
            return {"type": "text", "content": text}
        case ToolCall(id=call, name=name, arguments=arguments, raw=raw):
            return {"type": "tool_call", "id": call, "name": name, "arguments": arguments if raw is None else raw}
        case ToolResult(call_id=call, content=content):
            said = content if isinstance(content, str) else _parts(content)
            return {"type": "tool_call_response", "id": call, "response": said}
        case Thinking(text=text):
            return {"type": "reasoning", "content": text}
        case Image(url=url) if url is not None and not url.startswith("data:"):
            return {"type": "uri", "modality": "image", "uri": url}
        case _:
            return {"type": "image"}  # its bytes would fill the trace
