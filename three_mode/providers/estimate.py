"""Estimates of the tokens of a request before it is sent, for limits, budgets and the check of the context.

An estimate is rather too high than too low.
"""

from three_mode.messages import Image, LLMRequest, Message, Text, Thinking, ToolCall, ToolResult
from three_mode.providers.capabilities import Capabilities, capabilities
from three_mode.providers.pieces import encode_json

# Tokens beside the text of each.
PER_MESSAGE = 4
PER_IMAGE = 1600
PER_TOOL = 12


def estimate_tokens(request: LLMRequest, model: str, multiplier: float = 1.0) -> int:
    """Estimates the tokens of a request from its characters, by the family of the model.

    Text outside ASCII is counted by its bytes, as tokenizers do. `multiplier` is the provider's, for billed tokens.
    """
    able = capabilities(model)
    if request.prompt is not None and not isinstance(request.prompt, str):
        return int(len(request.prompt) * multiplier)
    count = 0
    for message in request.messages:
        count += _message(message, able)
    for tool in request.tools:
        schema = len(encode_json(tool.parameters)) + len(tool.description) + len(tool.name)
        count += PER_TOOL + int(schema * able.tokens_per_char)
    return int(count * multiplier)


def estimate_text(text: str, able: Capabilities | None = None) -> int:
    """Estimates the tokens of a text."""
    per_char = able.tokens_per_char if able is not None else 0.25
    if text.isascii():
        return int(len(text) * per_char) + 1
    return int(len(text.encode("utf-8", "replace")) * max(per_char, 0.3)) + 1


def _message(message: Message, able: Capabilities) -> int:
    if isinstance(message.content, str):
        return PER_MESSAGE + estimate_text(message.content, able)
    return PER_MESSAGE + sum(_part(part, able) for part in message.content)


def _part(part: object, able: Capabilities) -> int:
    if isinstance(part, Text | Thinking):
        return estimate_text(part.text, able)
    if isinstance(part, Image):
        return PER_IMAGE
    if isinstance(part, ToolCall):
        return PER_TOOL + int(len(encode_json(part.arguments)) * able.tokens_per_char)
    if isinstance(part, ToolResult):
        if isinstance(part.content, str):
            return estimate_text(part.content, able)
        return sum(_part(each, able) for each in part.content)
    return 0
