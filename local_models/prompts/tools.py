"""Tools of a call: those that the model is shown, and the calls in an answer as it comes. Pure.

Text that looks like a call but is not one stays text. What `max_tokens` cut off in the middle of a call is no text: it
is left out, and the answer ends with `length`.
"""

import json
import re
from collections.abc import Collection, Mapping
from typing import Any

from local_models.options import FREE, Generate
from local_models.prompts.reasoning import overlap
from local_models.prompts.tool_formats import BARE, Found, ToolFormat, read_bare
from local_models.replies import ToolCall

ToolSpec = Mapping[str, Any]
"""A tool: `{"type": "function", "function": {"name", "description", "parameters"}}`."""
_NO_PARAMETERS: Mapping[str, Any] = {"properties": {}}
# Keywords that speak of properties that have no name in the schema.
_OF_OTHERS = frozenset(
    ("additionalProperties", "patternProperties", "propertyNames", "anyOf", "oneOf", "allOf", "const", "enum")
)
_FIRST_KEYS = ("name", "type", "function", "arguments", "parameters", "id")
_FIRST_KEY = re.compile(r'[\[{\s]*"(\w*)("?)')


def offered_tools(how: Generate) -> tuple[dict[str, Any], ...]:
    """Returns the tools that the model is shown: with "none" no tool, with the name of a tool only that tool."""
    if how.tool_choice == "none":
        return ()
    return tuple(tool for tool in how.tools if tool_name(tool) == how.tool_choice) or how.tools


def shown_tools(how: Generate) -> tuple[dict[str, Any], ...]:
    """Returns the tools as the prompt has them: whether one is strict is nothing that a model was trained on."""
    return tuple(
        {**tool, "function": {name: each for name, each in tool["function"].items() if name != "strict"}}
        if "strict" in tool.get("function", {})
        else tool
        for tool in offered_tools(how)
    )


def tool_name(tool: ToolSpec) -> str:
    """Returns the name of a tool, or an empty text."""
    return str(tool.get("function", {}).get("name", ""))


def forces_call(how: Generate) -> bool:
    """Whether the answer must be a tool call."""
    return how.tool_choice not in FREE


def arguments_schema(tool: ToolSpec) -> dict[str, Any]:
    """Returns the schema of a tool's arguments, which are an object: an empty one where the tool has no parameters."""
    schema = tool.get("function", {}).get("parameters") or _NO_PARAMETERS
    if "$ref" in schema:
        return dict(schema)
    empty = schema.get("properties") == {} and not _OF_OTHERS & schema.keys()
    return {"type": "object", **schema, **({"additionalProperties": False} if empty else {})}


class ToolCallParser:
    """Finds tool calls in the text of an answer as it comes, in `calls`; `known` has the names of the tools."""

    def __init__(self, known: Collection[str], form: ToolFormat = BARE) -> None:
        self._known, self._form = known, form
        self._held = ""
        self._has_text = False  # ordinary text came first, so a later `{` begins no call
        self.calls: list[ToolCall] = []

    def feed(self, text: str) -> str:
        """Adds text; returns the ordinary text that cannot belong to a call."""
        self._held += text
        shown = ""
        while (block := self._first_block()) is not None:
            opened, mark, close = block
            closed = self._held.find(close, opened + len(mark)) if close else -1
            if closed < 0:
                return shown + self._show(opened)
            end = closed + len(close)
            found = self._known_calls(self._form.read(self._held[opened + len(mark) : closed]))
            shown += self._show(opened if found else end)
            if found:
                self._add(found)
                self._held = self._held[end - opened :]
                self._has_text = self._has_text or bool(shown.strip())
        if not self._has_text and not self.calls and self._may_be_call():
            return shown  # the whole answer may be a call: `end` decides
        kept = max(overlap(self._held, mark) for mark, _ in self._form.blocks)
        return shown + self._show(len(self._held) - kept)

    def _first_block(self) -> tuple[int, str, str] | None:
        places = [(at, mark, close) for mark, close in self._form.blocks if (at := self._held.find(mark)) >= 0]
        return min(places, default=None)

    def _may_be_call(self) -> bool:
        """Whether the answer so far may be the beginning of a call without marks."""
        start = self._held.lstrip()
        if self._form.fenced and start and ("```json".startswith(start) or start.startswith("```json")):
            start = start[len("```json") :].lstrip() or "{"
        if not start.startswith(("{", "[{")):
            return False
        key = _FIRST_KEY.match(start)
        if key is None:
            return start.strip("[{ \t\r\n") == ""
        return key[1] in _FIRST_KEYS if key[2] else any(each.startswith(key[1]) for each in _FIRST_KEYS)

    def _show(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        if not text.strip():
            return "" if self.calls else text  # white space between calls is nobody's text
        self._has_text = True
        return text

    def _known_calls(self, found: list[Found]) -> list[Found]:
        """The calls, if all of them are of tools that there are."""
        return found if all(not self._known or name in self._known for name, _ in found) else []

    def _add(self, found: list[Found]) -> None:
        for name, arguments in found:
            identity, text = self._form.id_of(len(self.calls)), json.dumps(arguments, ensure_ascii=False)
            self.calls.append(ToolCall(id=identity, name=name, arguments=text, parsed=arguments))

    def end(self, *, cut: bool = False) -> str:
        """Returns the text that was held back and is no call; `cut`: `max_tokens` ended the answer."""
        block = self._first_block()
        before = "" if block is None else self._show(block[0])
        found = self._last_calls(block)
        if found:
            self._add(found)
            self._held = ""
        elif cut:
            self._held = ""  # half a call, or half a mark
        return before + self._show(len(self._held))

    def _last_calls(self, block: tuple[int, str, str] | None) -> list[Found]:
        """The calls in a block that nothing ended, or those that are the whole answer."""
        if block is not None:
            return self._known_calls(self._form.read(self._held[len(block[1]) :]))
        return [] if self._has_text or self.calls else self._known_calls(read_bare(self._held))
