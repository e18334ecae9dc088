"""Requests in the form of Anthropic's Messages API."""

from typing import Any

from three_mode.messages import Image, LLMRequest, Message, Text, Thinking, ToolCall, ToolResult
from three_mode.messages.options import Reasoning, ResponseFormat, Tool
from three_mode.providers.capabilities import capabilities
from three_mode.providers.pieces import check_link, inline_data, own_thinking, refuse
from three_mode.providers.profile import Profile
from three_mode.providers.schema import rooted, strict

Body = dict[str, Any]
DEFAULT_MAX_TOKENS = 4096  # the API requires a number; this one is used where the request names none


def messages_body(request: LLMRequest, model: str, profile: Profile, stream: bool) -> Body:
    """Body of a request."""
    if request.seed is not None:
        raise refuse(profile, "seed", "has no seed")
    body: Body = {
        "model": model,
        "max_tokens": request.max_tokens or _max_tokens(request, model),
        "messages": turns(request, profile),
    }
    system = system_prompt(request)
    if system:
        body["system"] = system
    if request.temperature is not None:
        body["temperature"] = request.temperature
    if request.top_p is not None:
        body["top_p"] = request.top_p
    if request.stop:
        body["stop_sequences"] = list(request.stop)
    if request.tools:
        body["tools"] = [tool(each) for each in request.tools]
        if request.tool_choice is not None:
            body["tool_choice"] = tool_choice(request.tool_choice)
        if request.extra and request.extra.get("parallel_tool_calls") is False and request.tool_choice != "none":
            body["tool_choice"] = {**body.get("tool_choice", {"type": "auto"}), "disable_parallel_tool_use": True}
    if request.reasoning is not None:
        think(body, request.reasoning)
    if request.response_format is not None:
        body.setdefault("output_config", {})["format"] = output_format(request.response_format, profile)
    if stream:
        body["stream"] = True
    return body


def _max_tokens(request: LLMRequest, model: str) -> int:
    """Most tokens of the answer. The API counts thinking in it, so that a budget for thinking is added."""
    budget = request.reasoning.budget_tokens if request.reasoning else None
    most = capabilities(model).max_output
    wanted = DEFAULT_MAX_TOKENS + (budget or 0)
    return min(wanted, most) if most else wanted


def system_prompt(request: LLMRequest) -> str | list[Body]:
    """System prompt as one string, or as blocks where a part has a cache mark, which only a block can carry."""
    blocks = [
        part
        for message in request.messages
        if message.role == "system"
        for part in message.parts
        if isinstance(part, Text)
    ]
    if any(part.cache for part in blocks):
        return [_marked({"type": "text", "text": part.text}, part.cache) for part in blocks]
    return request.system


def turns(request: LLMRequest, profile: Profile) -> list[Body]:
    """Messages in alternating roles: tool results and the user message after them become one message."""
    found: list[Body] = []
    for message in request.messages:
        if message.role == "system":
            continue
        role = "assistant" if message.role == "assistant" else "user"
        content = _content(message, profile)
        if not content:
            continue
        if found and found[-1]["role"] == role and _holds_results(found[-1]) and role == "user":
            found[-1]["content"] = found[-1]["content"] + _blocks(content)
        else:
            found.append({"role": role, "content": content})
    return found


def _holds_results(turn: Body) -> bool:
    content = turn["content"]
    return isinstance(content, list) and any(block["type"] == "tool_result" for block in content)


def _blocks(content: str | list[Body]) -> list[Body]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def _content(message: Message, profile: Profile) -> str | list[Body]:
    prefix = f"{message.name}: " if message.name and message.role == "user" else ""  # there is no field for a name
    if isinstance(message.content, str):
        return prefix + message.content
    found: list[Body] = [{"type": "text", "text": prefix}] if prefix else []
    for part in message.content:
        block = _block(part, profile)
        if block is not None:
            found.append(block)
    return found


def _block(part: Any, profile: Profile) -> Body | None:
    if isinstance(part, Text):
        return _marked({"type": "text", "text": part.text}, part.cache) if part.text else None
    if isinstance(part, Image):
        return _image(part, profile)
    if isinstance(part, ToolCall):
        if part.raw is not None:
            raise refuse(profile, "messages", f"takes only JSON as the arguments of {part.name!r}", "drop that call")
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": part.arguments}
    if isinstance(part, ToolResult):
        return _result(part, profile)
    assert isinstance(part, Thinking)
    if not own_thinking(part, profile):
        return None
    if part.redacted is not None:
        return {"type": "redacted_thinking", "data": part.redacted}
    if part.signature is None:  # thinking without its proof is refused
        return None
    return {"type": "thinking", "thinking": part.text, "signature": part.signature}


def _image(part: Image, profile: Profile) -> Body:
    inline = inline_data(part)
    if inline is not None:
        source = {"type": "base64", "media_type": inline[0], "data": inline[1]}
    else:
        check_link(part, profile)
        source = {"type": "url", "url": part.url or ""}
    return _marked({"type": "image", "source": source}, part.cache)


def _result(part: ToolResult, profile: Profile) -> Body:
    found: Body = {"type": "tool_result", "tool_use_id": part.call_id}
    if isinstance(part.content, str):
        found["content"] = part.content
    else:
        blocks = (_block(each, profile) for each in part.content)
        found["content"] = [block for block in blocks if block is not None]
    if part.is_error:
        found["is_error"] = True
    return _marked(found, part.cache)


def _marked(block: Body, cache: str | None) -> Body:
    """Adds a cache mark. `cache` is the lifetime of the prefix: "5m" or "1h"; any other word is the default."""
    if cache is not None:
        block["cache_control"] = {"type": "ephemeral", "ttl": cache} if cache[:1].isdigit() else {"type": "ephemeral"}
    return block


def tool(each: Tool) -> Body:
    """A tool in Anthropic's form."""
    found: Body = {"name": each.name}
    if each.description:
        found["description"] = each.description
    schema = strict(each.parameters) if each.strict else each.parameters
    found["input_schema"] = schema or {"type": "object", "properties": {}}
    if each.strict is not None:
        found["strict"] = each.strict
    return _marked(found, each.cache)


def tool_choice(choice: str) -> Body:
    """A choice of tools in Anthropic's form."""
    named = {"auto": "auto", "none": "none", "required": "any"}.get(choice)
    return {"type": named} if named else {"type": "tool", "name": choice}


def think(body: Body, asked: Reasoning) -> None:
    """Adds the fields for thinking: a budget sets its length, an effort its intensity."""
    if asked.budget_tokens == 0 or asked.effort == "none":
        body["thinking"] = {"type": "disabled"}
        return
    if asked.budget_tokens is not None:
        body["thinking"] = {"type": "enabled", "budget_tokens": asked.budget_tokens}
    elif asked.effort is not None:
        body["thinking"] = {"type": "adaptive"}
    if asked.effort is not None:
        body["output_config"] = {"effort": asked.effort}


def output_format(asked: ResponseFormat, profile: Profile) -> Body:
    """The format of a JSON answer in Anthropic's form."""
    if asked.json_schema is None:
        raise refuse(profile, "response_format", "answers in JSON only with a schema", "response_format=SomeType")
    schema = strict(asked.json_schema) if asked.strict else rooted(asked.json_schema)
    return {"type": "json_schema", "schema": schema}
