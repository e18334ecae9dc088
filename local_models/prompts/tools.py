"""Tools of a call: those that the model is shown, the grammar of a forced call, and the calls in an answer. Pure.

Three spellings are known: `<tool_call>{...}</tool_call>` (Hermes, Qwen, the tiny model), `[TOOL_CALLS] [...]`
(Mistral), and an answer that is nothing but the JSON of a call (Llama 3). Text that looks like a call but is not one
stays text.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from local_models.errors import BadGrammar
from local_models.options import FREE, Generate
from local_models.prompts.grammar import grammar_text, schema_rules
from local_models.prompts.pattern_grammar import literal
from local_models.replies import ToolCall

ToolSpec = Mapping[str, Any]
"""A tool: `{"type": "function", "function": {"name", "description", "parameters"}}`."""
OPEN, CLOSE, MISTRAL = "<tool_call>", "</tool_call>", "[TOOL_CALLS]"
_ANY_OBJECT = {"type": "object"}


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


def forced_call_grammar(how: Generate, template: str) -> str:
    """Returns the GBNF of a forced call, in the spelling of the chat template; `required` allows several calls.

    A template that marks calls with `<tool_call>` gets marked calls. All others get a bare JSON call, which the parser
    finds in any answer.
    """
    marked = marks_calls(template)
    key = "parameters" if not marked and '"parameters"' in template else "arguments"
    rules = _calls_rules(how, key)
    if not marked:
        return grammar_text("call", rules)
    rules["marked"] = f'{literal(OPEN)} "\\n"? call "\\n"? {literal(CLOSE)}'
    return grammar_text('marked ("\\n"? marked)*' if how.tool_choice == "required" else "marked", rules)


def marks_calls(template: str) -> bool:
    """Whether the models of a chat template mark their calls with `<tool_call>`."""
    return OPEN in template


def free_call_grammar(how: Generate) -> str:
    """Returns the GBNF of what follows the mark of a call that the model chose to make: that call, and more calls.

    Without it a model that does not know the tools well writes names and arguments that nobody has.
    """
    rules = _calls_rules(how, "arguments")
    rules["rest"] = f'"\\n"? call "\\n"? {literal(CLOSE)}'
    return grammar_text(f'rest ("\\n"? {literal(OPEN)} rest)*', rules)


def _calls_rules(how: Generate, key: str) -> dict[str, str]:
    """Returns the rule `call`, which is one call of an offered tool, and all rules that it needs."""
    rules: dict[str, str] = {}
    calls = []
    for number, tool in enumerate(offered_tools(how)):
        root, own = _arguments_rule(tool, f"t{number}-")
        rules |= own
        calls.append(_call_rule(tool_name(tool), key, root))
    rules["space"] = '" "?'
    rules["call"] = " | ".join(calls)
    return rules


def _call_rule(name: str, key: str, arguments: str) -> str:
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


def _arguments_rule(tool: ToolSpec, prefix: str) -> tuple[str, dict[str, str]]:
    """Returns the rules of the arguments; any object where the schema is none, or too large: the tool checks them."""
    try:
        root, rules, _ = schema_rules(arguments_schema(tool), prefix, lenient=True)
    except BadGrammar:
        root, rules, _ = schema_rules(_ANY_OBJECT, prefix)
    return root, rules


def arguments_schema(tool: ToolSpec) -> dict[str, Any]:
    """Returns the schema of a tool's arguments, which are an object."""
    schema = tool.get("function", {}).get("parameters") or _ANY_OBJECT
    return schema if "$ref" in schema else {**_ANY_OBJECT, **schema}


def _tool_call(value: Any, known: Collection[str], number: int) -> ToolCall | None:
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("function"), dict):
        value = value["function"]
    name = value.get("name")
    arguments = value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return None
    if not isinstance(name, str) or not isinstance(arguments, dict) or (known and name not in known):
        return None
    text = json.dumps(arguments, ensure_ascii=False)
    return ToolCall(id=f"call_{number}", name=name, arguments=text, parsed=arguments)


def _tool_calls(text: str, known: Collection[str], first: int) -> list[ToolCall]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return []
    values = value if isinstance(value, list) else [value]
    found = [_tool_call(each, known, first + index) for index, each in enumerate(values)]
    return [call for call in found if call is not None] if all(found) else []


class ToolCallParser:
    """Finds tool calls in the text of an answer as it comes, in `calls`; `known` has the names of the tools."""

    def __init__(self, known: Collection[str]) -> None:
        self._known = known
        self._held = ""
        self._has_text = False  # ordinary text came first, so a later `{` begins no call
        self.calls: list[ToolCall] = []

    def feed(self, text: str) -> str:
        """Adds text; returns the ordinary text that cannot belong to a call."""
        self._held += text
        shown = ""
        while True:
            opened = self._held.find(OPEN)
            if opened < 0:
                break
            closed = self._held.find(CLOSE, opened)
            if closed < 0:
                return shown + self._show(opened)
            body = self._held[opened + len(OPEN) : closed]
            found = _tool_calls(body, self._known, len(self.calls))
            end = closed + len(CLOSE)
            shown += self._show(opened) if found else self._show(end)
            if found:
                self.calls += found
                self._held = self._held[end - opened :]
                self._has_text = self._has_text or bool(shown.strip())
        start = self._held.lstrip()
        if (
            not self._has_text
            and not self.calls
            and start
            and (start[0] in "{" or MISTRAL.startswith(start[: len(MISTRAL)]))
        ):
            return shown  # the whole answer may be a call: `end` decides
        return shown + self._show(len(self._held) - self._overlap())

    def _show(self, length: int) -> str:
        text, self._held = self._held[:length], self._held[length:]
        self._has_text = self._has_text or bool(text.strip())
        return text

    def _overlap(self) -> int:
        for length in range(min(len(OPEN) - 1, len(self._held)), 0, -1):
            if self._held.endswith(OPEN[:length]):
                return length
        return 0

    def end(self) -> str:
        """Returns the text that was held back and is no call."""
        text = self._held.strip()
        body = text.removeprefix(MISTRAL) if text.startswith(MISTRAL) else text.removeprefix(OPEN)
        if body and (text.startswith((MISTRAL, OPEN)) or not self._has_text):
            found = _tool_calls(body, self._known, len(self.calls))
            if found:
                self.calls += found
                self._held = ""
                return ""
        return self._show(len(self._held))
