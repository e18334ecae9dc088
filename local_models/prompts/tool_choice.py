"""Which tools a call may use, and the grammar that leaves a model nothing to say but a call of one of them. Pure."""

import json
from collections.abc import Mapping
from typing import Any

from local_models.errors import BadGrammar
from local_models.options import FREE, Generate
from local_models.prompts.grammar import literal, rules_of, text_of
from local_models.prompts.tools import CLOSE, OPEN

ToolSpec = Mapping[str, Any]
_ANY_OBJECT = {"type": "object"}


def offered(how: Generate) -> tuple[dict[str, Any], ...]:
    """The tools that the model is shown: with "none" no tool, with a name that tool alone."""
    if how.tool_choice == "none":
        return ()
    return tuple(tool for tool in how.tools if name_of(tool) == how.tool_choice) or how.tools


def name_of(tool: ToolSpec) -> str:
    return str(tool.get("function", {}).get("name", ""))


def is_forced(how: Generate) -> bool:
    return how.tool_choice not in FREE


def forced(how: Generate, template: str) -> str:
    """The GBNF of a call, in the spelling that the template of the model uses; `required` may be several calls.

    Templates that mark calls with `<tool_call>` get that. All others get a bare JSON call, which is read out of any answer.
    """
    rules: dict[str, str] = {}
    marked = OPEN in template
    key = "parameters" if not marked and '"parameters"' in template else "arguments"
    calls = []
    for number, tool in enumerate(offered(how)):
        root, own = _arguments(tool, f"t{number}-")
        rules |= own
        calls.append(_call(name_of(tool), key, root))
    rules["space"] = '" "?'
    rules["call"] = " | ".join(calls)
    if not marked:
        return text_of("call", rules)
    rules["marked"] = f'{literal(OPEN)} "\\n"? call "\\n"? {literal(CLOSE)}'
    return text_of('marked ("\\n"? marked)*' if how.tool_choice == "required" else "marked", rules)


def _call(name: str, key: str, arguments: str) -> str:
    parts = [
        literal('{"name":'),
        "space",
        literal(json.dumps(name)),
        '"," space',
        literal(f'"{key}":'),
        "space",
        arguments,
    ]
    return " ".join([*parts, 'space "}"'])


def _arguments(tool: ToolSpec, prefix: str) -> tuple[str, dict[str, str]]:
    """A schema that asks for more than a grammar can hold leaves any object; who runs the tool checks it, as ever."""
    schema = tool.get("function", {}).get("parameters") or _ANY_OBJECT
    try:
        return rules_of(schema if "$ref" in schema else {**_ANY_OBJECT, **schema}, prefix)
    except BadGrammar:
        return rules_of(_ANY_OBJECT, prefix)
