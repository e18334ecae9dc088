"""Formats of tool calls: the marks around them, how they are read out of an answer, and which one a model writes. Pure.

hermes       <tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>      Hermes, Qwen, the tiny model
mistral      [TOOL_CALLS] [{"name": "add", "arguments": {"a": 1}}]              Mistral
mistral-args [TOOL_CALLS]add[ARGS]{"a": 1}                                      Mistral, later ones
llama        {"name": "add", "parameters": {"a": 1}}                            Llama 3, also behind <|python_tag|>
gemma        ```tool_code, add(a=1), ```; or the JSON of llama                  Gemma
deepseek     its own marks around `function`, the name, and fenced JSON         DeepSeek V3, R1
deepseek-3.1 the same marks around the name and bare JSON                       DeepSeek V3.1
bare         the JSON of llama                                                  all others

A template names its marks, and so tells the format. The JSON of a call as a whole answer is read in every format: small
models forget the marks.
"""

import ast
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

_BLOCK, _CALL, _SEPARATOR, _END_CALL, _END_BLOCK = (
    f"<\uff5c{name}\uff5c>"
    for name in ("tool▁calls▁begin", "tool▁call▁begin", "tool▁sep", "tool▁call▁end", "tool▁calls▁end")
)
ARGS, CALL_ID = "[ARGS]", "[CALL_ID]"
START = r'\{\s*"name"\s*:'  # a bare call, once it is none of the JSON that an answer may be
_LONGEST_CODE = 1 << 14  # characters of a call in Python that are parsed
_FENCE = re.compile(r"```[a-z_]*\n?(.*?)\n?```", re.DOTALL)
_JSON_WORDS = {"true": True, "false": False, "null": None}
Found = tuple[str, dict[str, Any]]
"""Name and arguments of a call."""


def call_of_json(value: Any) -> Found | None:
    """Returns the call that a value is, in any of the shapes that models write."""
    if not isinstance(value, dict):
        return None
    if isinstance(value.get("function"), dict):
        value = value["function"]
    name, arguments = value.get("name"), value.get("arguments", value.get("parameters", {}))
    if isinstance(arguments, str):
        try:
            arguments = json.loads(arguments)
        except (ValueError, RecursionError):
            return None
    return (name, arguments) if isinstance(name, str) and isinstance(arguments, dict) else None


def read_json(body: str) -> list[Found]:
    """Returns the calls of a text that is nothing but calls: one, a list, or several behind each other; else []."""
    values: list[Any] = []
    decoder, at = json.JSONDecoder(), 0
    try:
        while at < len(body):
            if body[at] in " \t\r\n;,":
                at += 1
                continue
            value, at = decoder.raw_decode(body, at)
            values += value if isinstance(value, list) else [value]
    except (ValueError, RecursionError):
        return []
    return _all(list(map(call_of_json, values)))


def _all(found: list[Found | None]) -> list[Found]:
    calls = [call for call in found if call is not None]
    return calls if len(calls) == len(found) else []


def read_bare(body: str) -> list[Found]:
    """The same, for a whole answer, which may stand between the fences of code."""
    fenced = _FENCE.fullmatch(body.strip())
    return read_json(fenced[1] if fenced else body)


def _read_mistral(body: str) -> list[Found]:
    """A list of calls, or names each with their arguments behind a mark; a block may follow a block."""
    found: list[Found | None] = []
    for block in body.split("[TOOL_CALLS]"):
        name, named, arguments = block.partition(ARGS)
        if named:
            found.append(_named(name.partition(CALL_ID)[0], arguments))
        else:
            found += read_json(block) or [None]
    return _all(found)


def _named(name: str, arguments: str) -> Found | None:
    fenced = _FENCE.fullmatch(arguments.strip())
    try:
        parsed = json.loads(fenced[1] if fenced else arguments.strip())
    except (ValueError, RecursionError):
        return None
    return (name.strip(), parsed) if isinstance(parsed, dict) else None


def _read_deepseek(body: str) -> list[Found]:
    """Each call: a kind and a name, or a name, then its arguments."""
    found: list[Found | None] = []
    for call in body.replace(_END_BLOCK, "").split(_CALL):
        if not call.strip():
            continue
        head, separated, rest = call.partition(_END_CALL)[0].partition(_SEPARATOR)
        name, line, arguments = rest.partition("\n")
        if not separated:
            return []
        older = bool(line) and head.strip() == "function" and not name.strip().startswith("{")
        found.append(_named(name, arguments) if older else _named(head, rest))
    return _all(found)


def _read_code(body: str) -> list[Found]:
    """Calls of functions in Python, with named arguments; also in `print(...)`, or in a list."""
    if body.lstrip().startswith("{"):
        return read_json(body)
    try:
        lines = ast.parse(body.strip()[:_LONGEST_CODE]).body
        calls = [call for line in lines for call in _calls_in(line)]
        return [
            (ast.unparse(call.func), {str(each.arg): _value(each.value) for each in call.keywords}) for call in calls
        ]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def _calls_in(line: ast.AST) -> list[ast.Call]:
    inner: Any = line.value if isinstance(line, ast.Expr) else line
    if isinstance(inner, ast.Call) and ast.unparse(inner.func) == "print" and len(inner.args) == 1:
        inner = inner.args[0]
    calls: list[ast.Call] = []
    for call in inner.elts if isinstance(inner, (ast.List, ast.Tuple)) else [inner]:
        if not isinstance(call, ast.Call) or call.args or not all(each.arg for each in call.keywords):
            raise ValueError("no call")
        calls.append(call)
    return calls


def _value(node: ast.expr) -> Any:
    """The value of a literal, in Python or in JSON."""
    match node:
        case ast.Constant(value=str() as text):
            return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        case ast.Constant(value=bool() | int() | float() | None as value):
            return value
        case ast.Name(id=word) if word in _JSON_WORDS:
            return _JSON_WORDS[word]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=values) | ast.Tuple(elts=values):
            return list(map(_value, values))
        case ast.Dict(keys=keys, values=values) if all(isinstance(key, ast.Constant) for key in keys):
            return {str(key.value): _value(each) for key, each in zip(keys, values, strict=True)}  # type: ignore[union-attr]
    raise ValueError("no literal")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFormat:
    """How a model writes calls."""

    name: str
    #: marks that begin calls, each with the mark that ends them; "": they go on to the end of the answer
    blocks: tuple[tuple[str, str], ...] = ()
    inner: tuple[str, ...] = ()  #: marks between those
    read: Callable[[str], list[Found]] = read_json  #: reads what stands behind a mark; [] where that is no call
    key: str = "arguments"  #: what JSON calls the arguments
    holds_bare: bool = False  #: whether a call without marks is the usual one, so that a grammar holds it too
    fenced: bool = False  #: whether a call as a whole answer may stand between fences
    short_ids: bool = False  #: whether the template takes ids of nine letters and digits alone

    @property
    def opens(self) -> tuple[str, ...]:
        """The mark behind which a grammar holds a call."""
        return tuple(mark for mark, _ in self.blocks[:1])

    @property
    def marks(self) -> tuple[str, ...]:
        """All marks; some are control tokens, which have no text otherwise."""
        return tuple(mark for block in self.blocks for mark in block if mark) + self.inner

    def id_of(self, number: int) -> str:
        """Returns the id of a call, by its number in the answer."""
        return f"call{number:05d}" if self.short_ids else f"call_{number}"


HERMES = ToolFormat(name="hermes", blocks=(("<tool_call>", "</tool_call>"),))
MISTRAL = ToolFormat(name="mistral", blocks=(("[TOOL_CALLS]", ""),), read=_read_mistral, short_ids=True)
MISTRAL_ARGS = ToolFormat(
    name="mistral-args",
    blocks=(("[TOOL_CALLS]", ""),),
    inner=(ARGS, CALL_ID),
    read=_read_mistral,
    short_ids=True,
)
LLAMA = ToolFormat(name="llama", blocks=(("<|python_tag|>", ""),), key="parameters", holds_bare=True)
GEMMA = ToolFormat(
    name="gemma", blocks=(("```tool_code", "```"),), read=_read_code, key="parameters", holds_bare=True, fenced=True
)
_OF_DEEPSEEK = ((_BLOCK, _END_BLOCK), (_CALL, _END_CALL))
_INSIDE_DEEPSEEK = (_SEPARATOR,)
DEEPSEEK = ToolFormat(name="deepseek", blocks=_OF_DEEPSEEK, inner=_INSIDE_DEEPSEEK, read=_read_deepseek)
DEEPSEEK_31 = ToolFormat(name="deepseek-3.1", blocks=_OF_DEEPSEEK, inner=_INSIDE_DEEPSEEK, read=_read_deepseek)
_ANY = HERMES.blocks + MISTRAL.blocks
BARE = ToolFormat(name="bare", blocks=_ANY, holds_bare=True, fenced=True)
BARE_PARAMETERS = ToolFormat(name="bare", blocks=_ANY, key="parameters", holds_bare=True, fenced=True)


def tool_format(template: str) -> ToolFormat:
    """Returns the format of the models of a chat template, by the marks that it has."""
    if _CALL in template or _BLOCK in template:
        return DEEPSEEK if "```json" in template else DEEPSEEK_31
    if "[TOOL_CALLS]" in template:
        return MISTRAL_ARGS if ARGS in template else MISTRAL
    if "<tool_call>" in template:
        return HERMES
    if "<|python_tag|>" in template or "ipython" in template:
        return LLAMA
    if "tool_code" in template or "<start_of_turn>" in template:
        return GEMMA
    return BARE_PARAMETERS if '"parameters"' in template or not shows_tools(template) else BARE


def shows_tools(template: str) -> bool:
    """Whether a template puts the tools of a call into the prompt."""
    return "tools" in template


def deepseek_marks() -> tuple[str, str, str, str, str]:
    """Returns the marks of a block of calls, of a call, its separator, and their ends."""
    return _BLOCK, _CALL, _SEPARATOR, _END_CALL, _END_BLOCK
