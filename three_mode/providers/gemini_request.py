"""Requests in the form of Google's Gemini API."""

from typing import Any

from three_mode.messages import Image, LLMRequest, Message, Text, Thinking, ToolCall, ToolResult
from three_mode.messages.options import Reasoning
from three_mode.providers.pieces import called_names, inline_data, own_thinking, refuse
from three_mode.providers.profile import Profile
from three_mode.providers.schema import rooted

Body = dict[str, Any]
_MODES = {"auto": "AUTO", "none": "NONE", "required": "ANY"}
# Extension of a link -> its type: a link has no type, and Gemini requires one.
_MIME = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "gif": "image/gif",
    "heic": "image/heic",
}


def content_body(request: LLMRequest, profile: Profile) -> Body:
    """Body of a request."""
    body: Body = {"contents": contents(request, profile)}
    if request.system:
        body["systemInstruction"] = {"parts": [{"text": request.system}], "role": "user"}
    generation = generation_config(request)
    if generation:
        body["generationConfig"] = generation
    if request.tools:
        body["tools"] = [{"functionDeclarations": [declaration(tool, profile) for tool in request.tools]}]
        if request.tool_choice is not None:
            body["toolConfig"] = {"functionCallingConfig": calling(request.tool_choice)}
    if profile.safety:
        body["safetySettings"] = [
            {"category": category, "threshold": threshold} for category, threshold in profile.safety.items()
        ]
    return body


def generation_config(request: LLMRequest) -> Body:
    """Options of the generation."""
    found: Body = {}
    if request.temperature is not None:
        found["temperature"] = request.temperature
    if request.top_p is not None:
        found["topP"] = request.top_p
    if request.max_tokens is not None:
        found["maxOutputTokens"] = request.max_tokens
    if request.stop:
        found["stopSequences"] = list(request.stop)
    if request.seed is not None:
        found["seed"] = request.seed
    if request.response_format is not None:
        found["responseMimeType"] = "application/json"
        if request.response_format.json_schema is not None:
            found["responseJsonSchema"] = rooted(request.response_format.json_schema)
    if request.reasoning is not None:
        found["thinkingConfig"] = thinking(request.reasoning)
    return found


def thinking(asked: Reasoning) -> Body:
    """Options of thinking."""
    if asked.budget_tokens == 0 or asked.effort == "none":
        return {"thinkingBudget": 0}
    found: Body = {"includeThoughts": True}
    if asked.budget_tokens is not None:
        found["thinkingBudget"] = asked.budget_tokens
    if asked.effort is not None:
        found["thinkingLevel"] = asked.effort.upper()
    return found


def contents(request: LLMRequest, profile: Profile) -> list[Body]:
    """Messages in Gemini's form, with the roles user and model. Results of calls made together are one message."""
    names = called_names(request)
    found: list[Body] = []
    for message in request.messages:
        if message.role == "system":
            continue
        role = "model" if message.role == "assistant" else "user"
        parts = _parts(message, names, profile)
        if not parts:
            continue
        if message.role == "tool" and found and "functionResponse" in found[-1]["parts"][-1]:
            found[-1]["parts"].extend(parts)
        else:
            found.append({"parts": parts, "role": role})
    return found


def _parts(message: Message, names: dict[str, str], profile: Profile) -> list[Body]:
    prefix = f"{message.name}: " if message.name and message.role == "user" else ""
    found: list[Body] = [{"text": prefix}] if prefix else []
    for part in message.parts:
        if isinstance(part, Text):
            found.append({"text": part.text})
        elif isinstance(part, Image):
            found.append(_image(part))
        elif isinstance(part, ToolCall):
            found.append(_call(part, profile))
        elif isinstance(part, ToolResult):
            found.append({"functionResponse": _result(part, names, profile)})
        elif own_thinking(part, profile):
            _think(part, found)
    return found


def _think(part: Thinking, found: list[Body]) -> None:
    """Adds thinking. A signature without a thought belongs to the text before it."""
    if part.text:
        thought: Body = {"text": part.text, "thought": True}
        if part.signature is not None:
            thought["thoughtSignature"] = part.signature
        found.append(thought)
    elif part.signature is not None:
        if found and "text" in found[-1] and "thoughtSignature" not in found[-1]:
            found[-1]["thoughtSignature"] = part.signature
        else:
            found.append({"text": "", "thoughtSignature": part.signature})


def _call(part: ToolCall, profile: Profile) -> Body:
    if part.raw is not None:
        raise refuse(profile, "messages", f"takes only JSON as the arguments of {part.name!r}", "drop that call")
    call: Body = {"args": part.arguments, "name": part.name}
    if part.id and not part.id.startswith("call_made_"):  # an id made by this codec is unknown to Gemini
        call["id"] = part.id
    found: Body = {"functionCall": call}
    if part.signature is not None:
        found["thoughtSignature"] = part.signature
    return found


def _result(part: ToolResult, names: dict[str, str], profile: Profile) -> Body:
    name = part.name or names.get(part.call_id)
    if name is None:
        raise refuse(profile, "messages", "wants the tool's name with its result", "ToolResult(call_id, ..., name=...)")
    if isinstance(part.content, str):
        text = part.content
    else:
        text = "".join(each.text for each in part.content if isinstance(each, Text))
    found: Body = {"name": name, "response": {"error" if part.is_error else "output": text}}
    if part.call_id and not part.call_id.startswith("call_made_"):
        found["id"] = part.call_id
    if not isinstance(part.content, str):
        images = [_image(each) for each in part.content if isinstance(each, Image)]
        if images:
            found["parts"] = images
    return found


def _image(image: Image) -> Body:
    inline = inline_data(image)
    if inline is not None:
        return {"inlineData": {"data": inline[1], "mimeType": inline[0]}}
    url = image.url or ""
    mime = image.mime or _MIME.get(url.partition("?")[0].rpartition(".")[2].lower(), "image/jpeg")
    return {"fileData": {"fileUri": url, "mimeType": mime}}


def declaration(tool: Any, profile: Profile) -> Body:
    """A tool in Gemini's form."""
    found: Body = {"name": tool.name}
    if tool.description:
        found["description"] = tool.description
    if tool.parameters:
        found["parametersJsonSchema"] = tool.parameters
    return found


def calling(choice: str) -> Body:
    """A choice of tools in Gemini's form."""
    mode = _MODES.get(choice)
    return {"mode": mode} if mode else {"mode": "ANY", "allowedFunctionNames": [choice]}
