"""Grammars: translates a JSON Schema into GBNF, so that an answer is JSON of that shape. Pure.

Supported: types and unions of types, enum, const, properties (required and optional, in the order of the schema),
additionalProperties, items, prefixItems, minItems and maxItems, minLength and maxLength, the string formats date, time,
date-time and uuid, integer ranges of up to 1,000 values, anyOf and oneOf, allOf of objects, and $ref into the schema
itself (recursive ones too). A keyword that no grammar can express (pattern, multipleOf, ...) is an error that names it.
"""

import json
from collections.abc import Mapping
from typing import Any

from local_models.errors import BadGrammar

_COMMON = {
    "space": '" "?',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "integer": '"-"? ("0" | [1-9] [0-9]{0,15})',
    "number": '"-"? ("0" | [1-9] [0-9]{0,15}) ("." [0-9]{1,15})? ([eE] [-+]? [0-9]{1,3})?',
    "char": r'[^"\\\x00-\x1f\x7f] | "\\" (["\\/bfnrt] | "u" [0-9a-fA-F]{4})',
    "string": r'"\"" char* "\""',
    "value": "object | array | string | number | boolean | null",
    "object": r'"{" space (string ":" space value ("," space string ":" space value)*)? space "}"',
    "array": r'"[" space (value ("," space value)*)? space "]"',
}
_NEEDS = {
    "string": ("char",),
    "object": ("string", "value", "space"),
    "array": ("value", "space"),
    "value": ("object", "array", "string", "number", "boolean", "null"),
}
_DATE = '[0-9]{4} "-" [0-1] [0-9] "-" [0-3] [0-9]'
_TIME = '[0-2] [0-9] ":" [0-5] [0-9] ":" [0-5] [0-9] "Z"'
_FORMATS = {
    "date": rf'"\"" {_DATE} "\""',
    "time": rf'"\"" {_TIME}? "\""',
    "date-time": rf'"\"" {_DATE} "T" {_TIME} "\""',
    "uuid": r'"\"" [0-9a-f]{8} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{4} "-" [0-9a-f]{12} "\""',
}
_SAYS_NOTHING = {
    "title",
    "description",
    "default",
    "examples",
    "$schema",
    "$id",
    "$defs",
    "definitions",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$comment",
    "strict",
}
_KNOWN = _SAYS_NOTHING | {
    "type",
    "enum",
    "const",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "prefixItems",
    "minItems",
    "maxItems",
    "minLength",
    "maxLength",
    "format",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "anyOf",
    "oneOf",
    "allOf",
    "$ref",
    "nullable",
}
_DEEPEST = 64
_MOST_REPEATS = 1000
_LONGEST = 256 << 10  # characters of all rules together
_PLAIN_ENUM = 32  # values; more are written as a tree of their beginnings
_MOST_PROPERTIES = 500  # of one object, without a required one
_SMALL = 400  # parts of a schema, and characters of its texts, by twenties


def literal(text: str) -> str:
    """Returns a text as a GBNF literal."""
    escaped = (
        text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    )
    return f'"{escaped}"'


def _json(value: Any) -> str:
    return literal(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")))


def _common_beginning(texts: list[str]) -> str:
    first, last = min(texts), max(texts)  # all others lie between
    length = next(
        (at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    return first[:length]


def is_small(schema: Any) -> bool:
    """Whether a schema, or a list of tools, is turned into a grammar in no time."""
    count, todo = 0, [schema]
    while todo and count <= _SMALL:
        item = todo.pop()
        count += 1
        if isinstance(item, str):
            count += len(item) // 20
        elif isinstance(item, Mapping):
            count += len(item)
            if len(item) <= _SMALL:
                todo += item.values()
        elif isinstance(item, (list, tuple)):
            count += len(item)
            if len(item) <= _SMALL:
                todo += item
    return count <= _SMALL


class _Builder:
    """Collects the rules of one schema; names of its own rules begin with `prefix`."""

    def __init__(self, schema: Mapping[str, Any], prefix: str = "") -> None:
        self._schema, self._prefix = schema, prefix
        self._rules: dict[str, str] = {}
        self._references: dict[str, str] = {}
        self._length = 0

    def build(self) -> tuple[str, dict[str, str]]:
        return self.rule(self._schema, "schema", 0), self._rules

    def _use(self, name: str) -> str:
        if name not in self._rules:
            self._rules[name] = _COMMON[name]
            for other in _NEEDS.get(name, ()):
                self._use(other)
        return name

    def _new(self, body: str) -> str:
        name = f"{self._prefix}r{len(self._rules)}"
        self._set(name, body)
        return name

    def _set(self, name: str, body: str) -> None:
        self._length += len(body)
        if self._length > _LONGEST:
            raise BadGrammar(f"the schema needs a grammar of more than {_LONGEST} characters", field="schema")
        self._rules[name] = body

    def _one_of(self, texts: list[str], depth: int = 0) -> str:
        """Returns a rule for one of many texts: each beginning that texts share is written once.

        Every text that a grammar allows is compared with every token of the vocabulary: a thousand take seconds.
        """
        if len(texts) <= 2 or depth > 16:
            return self._new(" | ".join(map(literal, texts)))
        groups: dict[str, list[str]] = {}
        for text in texts:
            groups.setdefault(text[:1], []).append(text)
        parts = []
        for group in groups.values():
            shared = _common_beginning(group)
            rests = list(dict.fromkeys(text[len(shared) :] for text in group))
            parts.append(literal(shared) + (f" {self._one_of(rests, depth + 1)}" if len(rests) > 1 else ""))
        return self._new(" | ".join(parts))

    def rule(self, schema: Any, at: str, depth: int) -> str:
        """Returns the name or the body of the rule for a schema; it may stand in a sequence of others."""
        if depth > _DEEPEST:
            raise BadGrammar(f"`{at}` is nested deeper than {_DEEPEST}", field="schema")
        if schema is True or schema == {}:
            return self._use("value")
        if not isinstance(schema, Mapping):
            raise BadGrammar(f"`{at}` is not a schema", field="schema")
        if unknown := sorted(set(schema) - _KNOWN):
            raise BadGrammar(f"`{at}.{unknown[0]}` cannot be held by a grammar", field="schema")
        if "$ref" in schema:
            return self._reference(schema["$ref"], at, depth)
        if "const" in schema:
            return _json(schema["const"])
        if "enum" in schema:
            values = schema["enum"]
            if not isinstance(values, list) or not values:
                raise BadGrammar(f"`{at}.enum` is not a list of values", field="schema")
            if len(values) <= _PLAIN_ENUM:
                return self._new(" | ".join(_json(value) for value in values))
            if len(values) > _LONGEST // 4:
                raise BadGrammar(f"`{at}.enum` has {len(values)} values", field="schema")
            texts = (json.dumps(value, ensure_ascii=False, separators=(", ", ": ")) for value in values)
            return self._one_of(list(dict.fromkeys(texts)))
        for name in ("anyOf", "oneOf"):
            if name in schema:
                choices = [self.rule(each, f"{at}.{name}[{i}]", depth + 1) for i, each in enumerate(schema[name])]
                return self._new(" | ".join(choices))
        if "allOf" in schema:
            return self._object(self._merged(schema, at), at, depth)
        kind = schema.get("type") or ("object" if "properties" in schema else "array" if "items" in schema else None)
        if kind is None:
            return self._use("value")
        kinds = list(kind) if isinstance(kind, list) else [kind]
        if schema.get("nullable"):
            kinds.append("null")
        made = [self._typed(each, schema, at, depth) for each in kinds]
        return made[0] if len(made) == 1 else self._new(" | ".join(made))

    def _typed(self, kind: str, schema: Mapping[str, Any], at: str, depth: int) -> str:
        if kind == "object":
            return self._object(schema, at, depth)
        if kind == "array":
            return self._array(schema, at, depth)
        if kind == "string":
            return self._string(schema, at)
        if kind in ("integer", "number"):
            return self._numeric(kind, schema, at)
        if kind in ("boolean", "null"):
            return self._use(kind)
        raise BadGrammar(f"`{at}.type` is {kind!r}", field="schema")

    def _reference(self, target: Any, at: str, depth: int) -> str:
        if not isinstance(target, str) or not target.startswith("#"):
            raise BadGrammar(f"`{at}.$ref` leaves the schema: {target!r}", field="schema")
        if target not in self._references:
            found: Any = self._schema
            for part in target.lstrip("#/").split("/") if target not in ("#", "#/") else ():
                key = part.replace("~1", "/").replace("~0", "~")
                if not isinstance(found, Mapping) or key not in found:
                    raise BadGrammar(f"`{at}.$ref` points to nothing: {target}", field="schema")
                found = found[key]
            name = f"{self._prefix}ref{len(self._references)}"
            self._references[target] = name
            self._rules[name] = ""
            self._set(name, self.rule(found, target, depth + 1))
        return self._references[target]

    def _merged(self, schema: Mapping[str, Any], at: str) -> dict[str, Any]:
        merged: dict[str, Any] = {"type": "object", "properties": dict(schema.get("properties", {}))}
        required = list(schema.get("required", []))
        for index, part in enumerate(schema["allOf"]):
            if not isinstance(part, Mapping) or part.get("type", "object") != "object" or "properties" not in part:
                raise BadGrammar(f"`{at}.allOf[{index}]` is not an object with properties", field="schema")
            merged["properties"].update(part["properties"])
            required += part.get("required", [])
        return {**merged, "required": required}

    def _object(self, schema: Mapping[str, Any], at: str, depth: int) -> str:
        properties = schema.get("properties", {})
        extra = schema.get("additionalProperties", not properties)
        required = set(schema.get("required", []))
        if missing := sorted(required - set(properties)):
            raise BadGrammar(f"`{at}.required` names `{missing[0]}`, which is not among the properties", field="schema")
        self._use("space")
        pairs = {
            name: f'{_json(name)} ":" space {self.rule(each, f"{at}.properties.{name}", depth + 1)}'
            for name, each in properties.items()
        }
        more = ""
        if extra is not False:
            value = self.rule(extra, f"{at}.additionalProperties", depth + 1)
            more = self._new(f'{self._use("string")} ":" space {value}')
        if not pairs:
            inner = f'({more} ("," space {more})*)?' if more else ""
            return self._new(f'"{{" space {inner} space "}}"')
        first = [name for name in pairs if name in required]
        optional = [name for name in pairs if name not in required]
        body = ' "," space '.join(pairs[name] for name in first)
        tail = "".join(f' ("," space {pairs[name]})?' for name in optional)
        tail += f' ("," space {more})*' if more else ""
        if first:
            return self._new(f'"{{" space {body}{tail} space "}}"')
        if len(optional) > _MOST_PROPERTIES:
            raise BadGrammar(f"`{at}` has {len(optional)} properties and requires none", field="schema")
        if len(optional) > 8:  # written out, the rests would have half the square of their number in all
            rest = self._new(f'("," space {more})*') if more else ""
            starts = [f'{more} ("," space {more})*'] if more else []
            for name in reversed(optional):
                starts.insert(0, f"{pairs[name]} {rest}")
                rest = self._new(f'("," space {pairs[name]})? {rest}')
            return self._new(f'"{{" space ({" | ".join(starts)})? space "}}"')
        starts = []  # without required properties any optional one may be the first
        for index, name in enumerate(optional):
            rest = "".join(f' ("," space {pairs[other]})?' for other in optional[index + 1 :])
            starts.append(pairs[name] + rest + (f' ("," space {more})*' if more else ""))
        if more:
            starts.append(f'{more} ("," space {more})*')
        return self._new(f'"{{" space ({" | ".join(starts)})? space "}}"')

    def _array(self, schema: Mapping[str, Any], at: str, depth: int) -> str:
        self._use("space")
        if "prefixItems" in schema:
            parts = [
                self.rule(each, f"{at}.prefixItems[{i}]", depth + 1) for i, each in enumerate(schema["prefixItems"])
            ]
            return self._new('"[" space ' + ' "," space '.join(parts) + ' space "]"')
        item = self.rule(schema.get("items", True), f"{at}.items", depth + 1)
        low, high = self._range(schema, "minItems", "maxItems", at)
        if high == 0:
            return self._new('"[" space "]"')
        more = f'("," space {item}){{{max(low - 1, 0)},{"" if high is None else high - 1}}}'
        whole = f"{item} {more}"
        return self._new(f'"[" space {whole if low else f"({whole})?"} space "]"')

    def _string(self, schema: Mapping[str, Any], at: str) -> str:
        kind = schema.get("format")
        if kind is not None:
            if kind not in _FORMATS:
                raise BadGrammar(f"`{at}.format` {kind!r} cannot be held by a grammar", field="schema")
            return self._new(_FORMATS[kind])
        low, high = self._range(schema, "minLength", "maxLength", at)
        if low == 0 and high is None:
            return self._use("string")
        self._use("char")
        return self._new(f'"\\"" char{{{low},{"" if high is None else high}}} "\\""')

    def _numeric(self, kind: str, schema: Mapping[str, Any], at: str) -> str:
        low, high = schema.get("minimum"), schema.get("maximum")
        if (above := schema.get("exclusiveMinimum")) is not None:
            low = above + 1
        if (below := schema.get("exclusiveMaximum")) is not None:
            high = below - 1
        if low is None and high is None:
            return self._use(kind)
        if kind == "integer" and isinstance(low, int) and isinstance(high, int) and 0 <= high - low < _MOST_REPEATS:
            return self._new(" | ".join(f'"{number}"' for number in range(high, low - 1, -1)))
        if low == 0 and high is None:
            return self._new(_COMMON[kind].removeprefix('"-"? '))
        raise BadGrammar(f"`{at}` has a range that a grammar cannot hold", field="schema")

    def _range(self, schema: Mapping[str, Any], lower: str, upper: str, at: str) -> tuple[int, int | None]:
        low, high = schema.get(lower, 0), schema.get(upper)
        fits = isinstance(low, int) and 0 <= low <= _MOST_REPEATS
        fits = fits and (high is None or (isinstance(high, int) and low <= high <= _MOST_REPEATS))
        if not fits:
            raise BadGrammar(f"`{at}`: {lower} and {upper} are counts up to {_MOST_REPEATS}", field="schema")
        return low, high


def schema_rules(schema: Mapping[str, Any], prefix: str = "") -> tuple[str, dict[str, str]]:
    """Returns the rule of a schema, and all rules that it needs; `prefix` keeps the rules of several schemas apart."""
    try:
        return _Builder(schema, prefix).build()
    except (RecursionError, MemoryError) as error:
        raise BadGrammar("the schema is too large or nested too deep", field="schema") from error


def grammar_text(root: str, rules: Mapping[str, str]) -> str:
    """Returns the GBNF of a root and its rules."""
    return "\n".join([f"root ::= {root}", *(f"{name} ::= {body}" for name, body in rules.items())]) + "\n"


def schema_grammar(schema: Mapping[str, Any]) -> str:
    """Returns the GBNF of a JSON Schema; raises `BadGrammar` where a grammar cannot express it."""
    return grammar_text(*schema_rules(schema))
