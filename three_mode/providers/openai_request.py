"""Requests in the form of OpenAI's chat completions, with the variants of compatible providers."""

from typing import Any

from three_mode.messages import Image, LLMRequest, Message, Text, Thinking, ToolCall, ToolResult
from three_mode.messages.options import Reasoning, ResponseFormat, Tool
from three_mode.providers.pieces import check_link, data_url, encode_json, own_thinking, refuse, result_text
from three_mode.providers.profile import Profile
from three_mode.providers.schema import inlined, strict

Body = dict[str, Any]


def chat_body(request: LLMRequest, model: str, profile: Profile, stream: bool) -> Body:
    """Body of a request."""
    body: Body = {"model": model, "messages": messages(request, profile)}
    _sample(body, request, profile.max_tokens_field)
    if request.tools:
        body["tools"] = [tool(each) for each in request.tools]
    if request.tool_choice is not None and request.tools:
        body["tool_choice"] = tool_choice(request.tool_choice)
    if request.response_format is not None:
        body["response_format"] = response_format(request.response_format, profile)
    if request.reasoning is not None:
        think(body, request.reasoning, profile)
    if request.cache is not None and request.cache.key is not None and profile.name == "openai":
        body["prompt_cache_key"] = request.cache.key
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return body


def completion_body(request: LLMRequest, model: str, profile: Profile, stream: bool) -> Body:
    """Body of a request with a bare prompt, for `/completions`."""
    for name, value in (("response_format", request.response_format), ("reasoning", request.reasoning)):
        if value is not None:
            raise refuse(profile, name, f"takes no {name} with a bare prompt", "ask with messages")
    body: Body = {"model": model, "prompt": request.prompt}
    _sample(body, request, "max_tokens")
    if stream:
        body["stream"] = True
        body["stream_options"] = {"include_usage": True}
    return body


def _sample(body: Body, request: LLMRequest, most: str) -> None:
    """Adds how the answer is to be sampled. `most` is the field for the most tokens of it."""
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.max_tokens is not None:
        body[most] = request.max_tokens
    if request.stop:
        body["stop"] = list(request.stop)
    if request.seed is not None:
        body["seed"] = request.seed


def messages(request: LLMRequest, profile: Profile) -> list[Body | Message]:
    """Messages in OpenAI's form. One of a text is written as it is: the form is ours too."""
    found: list[Body | Message] = []
    for message in request.messages:
        content = message.content
        if isinstance(content, str):
            found.append(message)
        elif message.role == "assistant":
            found.append(_assistant(message, content, profile))
        else:
            found.extend(_other(message, content, profile))
    asked = request.response_format
    if asked is not None and asked.json_schema is not None and not profile.strict_schemas:
        found.insert(0, {"role": "system", "content": schema_prompt(asked.json_schema)})
    return found


def schema_prompt(schema: Body) -> str:
    """System prompt that replaces structured output."""
    text = encode_json(inlined(schema)).decode()
    return f"Answer with one JSON value that fits this JSON Schema, and with nothing else:\n{text}"


def _assistant(message: Message, content: tuple[Any, ...], profile: Profile) -> Body:
    found: Body = {"role": "assistant"}
    text, calls, thinking = [], [], []
    for part in content:
        if isinstance(part, Text):
            text.append(part.text)
        elif isinstance(part, ToolCall):
            calls.append(_call(part))
        elif isinstance(part, Thinking):
            if profile.thinking_field and own_thinking(part, profile):
                thinking.append(part.text)
        else:
            raise refuse(profile, "messages", "takes no images from an assistant")
    found["content"] = "".join(text) if text else None
    if message.name is not None:
        found["name"] = message.name
    if thinking and profile.thinking_field:
        found[profile.thinking_field] = "".join(thinking)
    if calls:
        found["tool_calls"] = calls
    elif found["content"] is None:
        found["content"] = ""
    return found


def _call(call: ToolCall) -> Body:
    arguments = call.raw if call.raw is not None else encode_json(call.arguments).decode()
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _other(message: Message, content: tuple[Any, ...], profile: Profile) -> list[Body]:
    """Encodes a system, user or tool message. Each tool result becomes a separate message, before the others."""
    found: list[Body] = []
    parts: list[Body] = []
    for part in content:
        if isinstance(part, ToolResult):
            found.append({"role": "tool", "tool_call_id": part.call_id, "content": result_text(part, profile)})
        elif isinstance(part, Text):
            parts.append({"type": "text", "text": part.text})
        elif isinstance(part, Image):
            check_link(part, profile)
            image: Body = {"url": data_url(part)}
            if part.detail is not None:
                image["detail"] = part.detail
            parts.append({"type": "image_url", "image_url": image})
    if parts:
        spoken: Body = {"role": message.role, "content": parts}
        if message.name is not None:
            spoken["name"] = message.name
        found.append(spoken)
    return found


def tool(each: Tool) -> Body:
    """A tool in OpenAI's form."""
    function: Body = {"name": each.name}
    if each.description:
        function["description"] = each.description
    if each.parameters:
        function["parameters"] = strict(each.parameters) if each.strict else each.parameters
    if each.strict is not None:
        function["strict"] = each.strict
    return {"type": "function", "function": function}


def tool_choice(choice: str) -> str | Body:
    """A choice of tools in OpenAI's form."""
    if choice in ("auto", "none", "required"):
        return choice
    return {"type": "function", "function": {"name": choice}}


def response_format(asked: ResponseFormat, profile: Profile) -> Body:
    """The format of a JSON answer in OpenAI's form."""
    if asked.json_schema is None or not profile.strict_schemas:
        return {"type": "json_object"}
    schema = strict(asked.json_schema) if asked.strict else asked.json_schema
    return {
        "type": "json_schema",
        "json_schema": {"name": asked.name, "schema": schema, "strict": asked.strict},
    }


def think(body: Body, asked: Reasoning, profile: Profile) -> None:
    """Adds the fields for thinking, in the spelling of the provider."""
    off = asked.effort == "none" or asked.budget_tokens == 0
    if profile.thinking_switch == "qwen":
        body["enable_thinking"] = not off
        if asked.budget_tokens:
            body["thinking_budget"] = asked.budget_tokens
    elif profile.thinking_switch == "deepseek":
        if asked.budget_tokens:
            raise refuse(profile, "reasoning.budget_tokens", "has no thinking budget", "use reasoning effort")
        body["thinking"] = {"type": "disabled" if off else "enabled"}
        if asked.effort is not None and not off:
            body["reasoning_effort"] = asked.effort
    else:
        if asked.budget_tokens is not None:
            raise refuse(
                profile,
                "reasoning.budget_tokens",
                "counts no thinking budget",
                'use reasoning="low", "medium"...',
            )
        if asked.effort is not None:
            body["reasoning_effort"] = asked.effort
