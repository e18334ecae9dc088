"""Tools for a chat template that has no place for them: told in the words of a message. Pure.

The tools and the form of a call stand in the system message, or before the first message of the user. Earlier calls are
shown as the model would write them, and results of tools as messages of the user, since such a template knows no other
roles.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

_HOW = (
    "You can call these functions, each described by a JSON object:\n{tools}\n"
    'To call one, answer with nothing but {{"name": NAME, "parameters": {{...}}}}. Call one only where it helps.'
)


def told_in_words(messages: Sequence[Mapping[str, Any]], tools: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Returns messages that a template without tools can render; their contents are texts."""
    plain = _joined([_without_calls(message) for message in messages])
    if tools:
        told = _HOW.format(tools="\n".join(json.dumps(tool.get("function", tool)) for tool in tools))
        at = next((at for at, message in enumerate(plain) if message["role"] in ("system", "developer", "user")), 0)
        first = plain[at]
        both = [first["content"], told] if first["role"] != "user" else [told, first["content"]]
        plain[at] = {**first, "content": "\n\n".join(filter(None, both))}
    return plain


def _joined(messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Joins what the user says with the results before it: many templates want the roles to alternate."""
    joined: list[dict[str, Any]] = []
    for message in messages:
        if joined and message["role"] == joined[-1]["role"] == "user":
            joined[-1] = {**joined[-1], "content": f"{joined[-1]['content']}\n{message['content']}"}
        else:
            joined.append(message)
    return joined


def _without_calls(message: Mapping[str, Any]) -> dict[str, Any]:
    if message["role"] == "tool":
        name = message.get("name")
        return {"role": "user", "content": f"Result{f' of {name}' if name else ''}: {message['content']}"}
    if not message.get("tool_calls"):
        return dict(message)
    calls = []
    for call in message["tool_calls"]:
        function = call.get("function", {})
        calls.append(json.dumps({"name": function.get("name"), "parameters": function.get("arguments")}))
    content = "\n".join(filter(None, [message["content"], *calls]))
    return {key: value for key, value in message.items() if key != "tool_calls"} | {"content": content}
