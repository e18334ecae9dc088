"""Grammars of tool calls: of an answer that must be a call, and of what follows the mark of one that a model began.

Without the second a model that does not know the tools well writes names and arguments that nobody has.
"""

import json
from collections.abc import Callable
from typing import Any

from local_models.errors import BadGrammar
from local_models.options import Generate
from local_models.prompts.grammar import schema_rules
from local_models.prompts.pattern_grammar import literal
from local_models.prompts.rules import grammar_text
from local_models.prompts.tool_formats import ARGS, ToolFormat, deepseek_marks
from local_models.prompts.tools import ToolSpec, arguments_schema, offered_tools, tool_name

_ANY_OBJECT = {"type": "object"}
_FIRST = '{"name":'  # with which the JSON of a call begins
Rules = dict[str, str]


def forced_call_grammar(how: Generate, form: ToolFormat, *, behind_thought: bool = False) -> str:
    """Returns the GBNF of a forced call, in the format of the model; `required` allows several calls.

    A format without marks of its own gets the JSON of a call, which is read in any answer. `behind_thought`: the call
    may begin on a line of its own.
    """
    rules = _rules(how, form)
    several = how.tool_choice == "required"
    mark = literal(form.blocks[0][0])
    if form.holds_bare:
        root = "call"
    elif form.name == "hermes":
        rules["marked"] = f"{mark} rest"
        root = 'marked ("\\n"? marked)*' if several else "marked"
    else:
        root = f"{mark} {'rest' if several else 'only'}"
    return grammar_text(f'"\\n"{{0,2}} {root}' if behind_thought else root, rules)


def free_call_grammar(how: Generate, form: ToolFormat) -> str:
    """Returns the GBNF of what follows the mark of a call that the model chose to make: that call, and more calls."""
    rules = _rules(how, form)
    if form.name in ("hermes", "bare"):
        root = f'rest ("\\n"? {literal(form.blocks[0][0])} rest)*'
        return grammar_text(f"tail | {root}" if form.holds_bare else root, rules)
    return grammar_text("tail | rest" if form.holds_bare else "rest", rules)


def _rules(how: Generate, form: ToolFormat) -> Rules:
    """Returns all rules of a format. `rest` follows a mark, `only` does so for a single call, `call` is a bare call and
    `tail` what follows its beginning."""
    rules: Rules = {"space": '" "?'}
    tools = offered_tools(how)
    write = _WRITERS.get(form.name, _hermes)
    arguments = []
    for number, tool in enumerate(tools):
        if form.name == "gemma":
            arguments.append((tool_name(tool), *_both(tool, f"t{number}-", rules)))
        else:
            arguments.append((tool_name(tool), _arguments_rule(tool, f"t{number}-", rules), ""))
    write(rules, form, arguments)
    return rules


Arguments = list[tuple[str, str, str]]
"""Name of a tool, the rule of its arguments as JSON, and the body of its arguments in Python."""


def _json_calls(rules: Rules, form: ToolFormat, tools: Arguments, end: str = "") -> None:
    """The rules `call` and `tail`; `end` may follow the arguments."""
    key = literal(f'"{form.key}":')
    tails = [
        f'space {literal(json.dumps(name))} "," space {key} space {arguments} {end}' for name, arguments, _ in tools
    ]
    rules["tail"] = f'({" | ".join(tails)}) space "}}"'
    rules["call"] = f"{literal(_FIRST)} tail"


def _hermes(rules: Rules, form: ToolFormat, tools: Arguments) -> None:
    _json_calls(rules, form, tools)
    rules["rest"] = f'"\\n"? call "\\n"? {literal(form.blocks[0][1])}'


def _mistral(rules: Rules, form: ToolFormat, tools: Arguments) -> None:
    _json_calls(rules, form, tools, end='("," space "\\"id\\":" space "\\"" [a-zA-Z0-9]{9} "\\"")?')
    rules["rest"] = 'space "[" call ("," space call)* "]"'
    rules["only"] = 'space "[" call "]"'


def _mistral_args(rules: Rules, form: ToolFormat, tools: Arguments) -> None:
    calls = [f"{literal(name)} {literal(ARGS)} {arguments}" for name, arguments, _ in tools]
    rules["only"] = " | ".join(calls)
    rules["rest"] = f"only ({literal(form.blocks[0][0])} only)*"


def _llama(rules: Rules, form: ToolFormat, tools: Arguments) -> None:
    _json_calls(rules, form, tools)
    rules["rest"] = 'call (";" space call)*'


def _gemma(rules: Rules, form: ToolFormat, tools: Arguments) -> None:
    _json_calls(rules, form, tools)
    rules["code"] = " | ".join(f'{literal(name + "(")} {code} ")"' for name, _, code in tools)
    rules["rest"] = f'"\\n" (code "\\n")+ {literal(form.blocks[0][1])}'


def _deepseek(rules: Rules, form: ToolFormat, tools: Arguments) -> None:
    _, call, separator, end_call, end = map(literal, deepseek_marks())
    if form.name == "deepseek":
        before, fence, after = '"function"', '"\\n```json\\n"', '"\\n```"'
        calls = [f"{before} {separator} {literal(name)} {fence} {arguments} {after}" for name, arguments, _ in tools]
    else:
        calls = [f"{literal(name)} {separator} {arguments}" for name, arguments, _ in tools]
    rules["one"] = f"{call} ({' | '.join(calls)}) {end_call}"
    rules["only"] = f"one {end}"
    rules["rest"] = f'one ("\\n"? one)* {end}'


_WRITERS: dict[str, Callable[[Rules, ToolFormat, Arguments], None]] = {
    "mistral": _mistral,
    "mistral-args": _mistral_args,
    "llama": _llama,
    "gemma": _gemma,
    "deepseek": _deepseek,
    "deepseek-3.1": _deepseek,
}


def _arguments_rule(tool: ToolSpec, prefix: str, rules: Rules) -> str:
    """Adds the rules of the arguments; any object where the schema is none, or too large: the tool checks them."""
    return _rule_of(arguments_schema(tool), _ANY_OBJECT, prefix, rules)


def _rule_of(schema: dict[str, Any], otherwise: dict[str, Any], prefix: str, rules: Rules) -> str:
    try:
        root, own, _ = schema_rules(schema, prefix, lenient=True)
    except BadGrammar:
        root, own, _ = schema_rules(otherwise, prefix)
    rules |= own
    return root


def _both(tool: ToolSpec, prefix: str, rules: Rules) -> tuple[str, str]:
    """The arguments as JSON, and in Python: `name=value` in the order of the schema, with JSON's values."""
    schema = arguments_schema(tool)
    written = _arguments_rule(tool, prefix, rules)
    properties, required = schema.get("properties"), schema.get("required")
    if not isinstance(properties, dict):
        return written, '""'
    shared = {key: value for key, value in schema.items() if key in ("$defs", "definitions")}
    needed: list[str] = []
    optional: list[str] = []
    for number, (name, each) in enumerate(properties.items()):
        value = _rule_of({**each, **shared} if isinstance(each, dict) else {}, {}, f"{prefix}p{number}-", rules)
        into = needed if isinstance(required, list) and name in required else optional
        into.append(f"{literal(name + '=')} {value}")
    if needed:
        return written, " ".join([' ", " '.join(needed), *(f'(", " {each})?' for each in optional)])
    if not optional:
        return written, '""'
    ways = [" ".join([each, *(f'(", " {later})?' for later in optional[at:])]) for at, each in enumerate(optional, 1)]
    return written, f"({' | '.join(ways)})?"
