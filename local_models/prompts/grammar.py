"""Grammars: translates a JSON Schema into GBNF, so that an answer is JSON of that shape. Pure.

Held are types, values, properties in the order of the schema, names and values of dictionaries, lists and tuples,
counts, bounds of numbers, multiples of whole numbers, patterns, many formats, unions, and references, recursive ones
too. What is not (`not`, `uniqueItems`, `contains`, a look ahead in a pattern, ...) only leaves the grammar wider: the
answer is checked by `schema_check`. An object with properties has no others, unless the schema speaks of them.
"""

import json
import math
from collections.abc import Container, Mapping
from typing import Any

from local_models.errors import BadGrammar
from local_models.prompts.formats import BODIES, EXACT
from local_models.prompts.number_grammar import (
    ending,
    integer_body,
    multiples_bodies,
    multiples_by_ending,
    number_body,
)
from local_models.prompts.pattern_grammar import literal, pattern_body
from local_models.prompts.patterns import BadPattern, parsed
from local_models.prompts.rules import COMMON, LONGEST, GrammarRules, grammar_text
from local_models.prompts.schemas import (
    CONSTRAINTS,
    Bounds,
    bounds_of,
    check_schema,
    combined,
    constrains,
    count_of,
    divisor_of,
    is_of_type,
    refused,
    resolved,
    types_of,
)

_NEVER_HELD = frozenset({"not", "if", "then", "else"})
_UNHELD_OF_OBJECTS = frozenset({"dependentRequired", "dependentSchemas", "unevaluatedProperties"})
_COUNTS_OF_OBJECTS = frozenset({"minProperties", "maxProperties", "propertyNames"})
_UNHELD_OF_ARRAYS = frozenset({"uniqueItems", "contains", "minContains", "maxContains", "unevaluatedItems"})
_DEEPEST = 64
_MOST_SCHEMAS = 20_000  # those that are made on the way included
_MOST_REPEATS = 1000
_MOST_DIVISOR = 40  # larger ones are held where the last digits say whether a number is a multiple
_PLAIN_ENUM = 32  # values; more are written as a tree of their beginnings
_MOST_PROPERTIES = 500  # of one object, without a required one
_SMALL = 400  # parts of a schema, and characters of its texts, by twenties


def _json(value: Any) -> str:
    return literal(json.dumps(value, ensure_ascii=False, separators=(", ", ": ")))


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


_NOTHING = r"[^\x00-\U0010FFFF]"  # a rule that no text fits


class _NothingFits(Exception):
    """No value fits the schema at a place."""


def _without(schema: Mapping[str, Any], *keywords: str) -> dict[str, Any]:
    return {keyword: value for keyword, value in schema.items() if keyword not in keywords}


def _whole_bounds(bounds: Bounds) -> tuple[int | None, int | None]:
    """The least and the largest whole number within bounds."""
    low = None if bounds.low is None else math.ceil(bounds.low)
    high = None if bounds.high is None else math.floor(bounds.high)
    if low is not None and bounds.over and low == bounds.low:
        low += 1
    if high is not None and bounds.under and high == bounds.high:
        high -= 1
    return low, high


class _Builder:
    """Translates one schema; names of its own rules begin with `prefix`. `exact` is False once the grammar allows what
    the schema does not."""

    def __init__(self, schema: Mapping[str, Any], prefix: str = "") -> None:
        self._schema, self._prefix = schema, prefix
        self._rules = GrammarRules(prefix)
        self._references: dict[str, str] = {}
        self._unfit: set[str] = set()  # rules of references that nothing fits
        self._schemas = 0
        self.exact = True

    def build(self) -> tuple[str, dict[str, str]]:
        return self.rule(self._schema, "schema", 0), self._rules.bodies

    def rule(self, schema: Any, at: str, depth: int) -> str:
        """Returns the name or the body of the rule for a schema; it may stand in a sequence of others."""
        self._schemas += 1
        if depth > _DEEPEST:
            raise refused(at, f"is nested deeper than {_DEEPEST}")
        if self._schemas > _MOST_SCHEMAS:
            raise refused(at, f"is one of more than {_MOST_SCHEMAS} schemas")
        if schema is True:
            return self._rules.use("value")
        if schema is False:
            raise _NothingFits(at)
        if not constrains(schema):
            return self._rules.use("value")
        if schema.get("nullable") is True:
            inner = self.rule({keyword: each for keyword, each in schema.items() if keyword != "nullable"}, at, depth)
            return self._rules.new(f"{inner} | {self._rules.use('null')}")
        if "$ref" in schema and not constrains(_without(schema, "$ref")):
            return self._reference(schema["$ref"], at, depth)
        if "$ref" in schema or "allOf" in schema:
            whole = schema.get("allOf", ())
            if len(whole) == 1 and not constrains(_without(schema, "allOf")):
                return self.rule(whole[0], f"{at}.allOf[0]", depth + 1)
            return self._together(schema, at, depth)
        self._note(schema, _NEVER_HELD)
        if "const" in schema or "enum" in schema:
            return self._values(schema, at)
        for name in ("anyOf", "oneOf"):
            if name in schema:
                return self._choice(schema, name, at, depth)
        kinds = types_of(schema, at)
        if not kinds:
            return self._rules.use("value")
        made = [self._typed(each, schema, at, depth) for each in kinds]
        return made[0] if len(made) == 1 else self._rules.new(" | ".join(made))

    def _note(self, schema: Mapping[str, Any], keywords: frozenset[str]) -> None:
        """Notes that these keywords are not held, if the schema has one."""
        if not keywords.isdisjoint(schema):
            self.exact = False

    def _values(self, schema: Mapping[str, Any], at: str) -> str:
        self._note(_without(schema, "const", "enum", "type"), CONSTRAINTS)
        values = [schema["const"]] if "const" in schema else schema["enum"]
        kinds = types_of(schema, at) if "type" in schema else []
        values = [each for each in values if not kinds or any(is_of_type(each, kind) for kind in kinds)]
        if not values:
            raise _NothingFits(at)
        if len(values) == 1:
            return _json(values[0])
        if len(values) <= _PLAIN_ENUM:
            return self._rules.new(" | ".join(_json(value) for value in values))
        if len(values) > LONGEST // 4:
            raise refused(f"{at}.enum", f"has {len(values)} values")
        texts = (json.dumps(value, ensure_ascii=False, separators=(", ", ": ")) for value in values)
        return self._rules.one_of(list(dict.fromkeys(texts)))

    def _choice(self, schema: Mapping[str, Any], name: str, at: str, depth: int) -> str:
        """A rule for one of several schemas, each together with what stands beside them."""
        self.exact = self.exact and name == "anyOf"
        beside = _without(schema, name)
        choices: list[str] = []
        for number, each in enumerate(schema[name]):
            try:
                place = f"{at}.{name}[{number}]"
                whole = {"allOf": [each, beside]} if constrains(beside) else each
                choices.append(self.rule(whole, place, depth + 1))
            except _NothingFits:
                self.exact = False
        if not choices:
            raise _NothingFits(at)
        return self._rules.new(" | ".join(dict.fromkeys(choices)))

    def _together(self, schema: Mapping[str, Any], at: str, depth: int) -> str:
        """A rule for a value that fits several schemas. It has a name, since such schemas may hold each other."""
        self.exact = False
        key = json.dumps(schema, sort_keys=True)
        self._schemas += len(key) // 200
        if key not in self._references:
            whole = combined(self._schema, [schema], at)
            if whole is None:
                raise _NothingFits(at)
            self._defined(key, whole, at, depth)
        return self._referred(key, at)

    def _reference(self, target: str, at: str, depth: int) -> str:
        if target not in self._references:
            self._defined(target, resolved(self._schema, target, at), target, depth)
        return self._referred(target, at)

    def _defined(self, key: str, schema: Any, at: str, depth: int) -> None:
        name = self._references[key] = f"{self._prefix}ref{len(self._references)}"
        self._rules.set(name, "")
        try:
            self._rules.set(name, self.rule(schema, at, depth + 1))
        except _NothingFits:
            self._unfit.add(name)
            self._rules.set(name, _NOTHING)  # rules of what was given up may name it
            raise

    def _referred(self, key: str, at: str) -> str:
        """The rule of a schema that is defined."""
        if self._references[key] in self._unfit:
            raise _NothingFits(at)
        return self._references[key]

    def _typed(self, kind: str, schema: Mapping[str, Any], at: str, depth: int) -> str:
        if kind == "object":
            return self._object(schema, at, depth)
        if kind == "array":
            return self._array(schema, at, depth)
        if kind == "string":
            return self._string(schema, at)
        if kind in ("integer", "number"):
            return self._numeric(kind, schema, at)
        return self._rules.use(kind)

    # --- objects ---

    def _object(self, schema: Mapping[str, Any], at: str, depth: int) -> str:
        self._note(schema, _UNHELD_OF_OBJECTS)
        self._rules.use("space")
        required = dict.fromkeys(schema.get("required", []))
        properties = dict(schema.get("properties", {}))
        properties |= {name: self._unnamed(schema, name) for name in required if name not in properties}
        pairs: dict[str, str] = {}
        for name, each in properties.items():
            try:
                value = self.rule(each, f"{at}.properties.{name}", depth + 1)
            except _NothingFits:
                if name in required:
                    raise
                continue
            pairs[name] = f'{_json(name)} ":" space {value}'
        more = self._further(schema, at, depth)
        if not pairs:
            return self._dictionary(schema, more, at)
        self._note(schema, _COUNTS_OF_OBJECTS)
        self.exact = self.exact and not more  # a name may come twice, in both ways
        return self._rules.new(f'"{{" space {self._members(pairs, required, more, at)} space "}}"')

    def _unnamed(self, schema: Mapping[str, Any], name: str) -> Any:
        """The schema of a property that is required and not described."""
        self.exact = self.exact and "patternProperties" not in schema
        return True if "patternProperties" in schema else schema.get("additionalProperties", True)

    def _further(self, schema: Mapping[str, Any], at: str, depth: int) -> str:
        """A rule for one member that is not among the properties; an empty text where there are none."""
        kinds: list[tuple[str, Any, str]] = []
        for pattern, value in schema.get("patternProperties", {}).items():
            kinds.append((self._string({"pattern": pattern}, at), value, f"{at}.patternProperties.{pattern}"))
        has_own = bool(schema.get("properties")) or bool(kinds)
        others = schema.get("additionalProperties", not has_own)
        if others is not False:
            names, key = schema.get("propertyNames"), self._rules.use("string")
            if names is not None:
                named = {"allOf": [names, {"type": "string"}]}
                key = self.rule(named, f"{at}.propertyNames", depth + 1)
            kinds.append((key, others, f"{at}.additionalProperties"))
            self.exact = self.exact and len(kinds) == 1
        members: list[str] = []
        for key, value, place in kinds:
            try:
                members.append(f'{key} ":" space {self.rule(value, place, depth + 1)}')
            except _NothingFits:
                self.exact = False
        return self._rules.new(" | ".join(members)) if members else ""

    def _dictionary(self, schema: Mapping[str, Any], more: str, at: str) -> str:
        """An object without properties of its own."""
        if not more:
            return self._rules.new('"{" space "}"')
        low, high = self._counts(schema, "minProperties", "maxProperties", at)
        self.exact = self.exact and not low  # a name may come twice
        return self._rules.new(f'"{{" space {self._listed(more, low, high)} space "}}"')

    def _members(self, pairs: dict[str, str], required: Container[str], more: str, at: str) -> str:
        """The members of an object, in the order of the schema."""
        optional = [name for name in pairs if name not in required]
        if len(optional) < len(pairs):
            start = next(place for place, name in enumerate(pairs) if name in required)
            parts = []
            for place, (name, pair) in enumerate(pairs.items()):
                spelled = f'{pair} "," space' if place < start else pair if place == start else f'"," space {pair}'
                parts.append(spelled if name in required else f"({spelled})?")
            return " ".join(parts) + (f' ("," space {more})*' if more else "")
        if len(optional) > _MOST_PROPERTIES:
            raise refused(at, f"has {len(optional)} properties and requires none")
        if len(optional) > 8:  # written out, the rests would have half the square of their number in all
            rest = self._rules.new(f'("," space {more})*') if more else ""
            starts = [f'{more} ("," space {more})*'] if more else []
            for name in reversed(optional):
                starts.insert(0, f"{pairs[name]} {rest}")
                rest = self._rules.new(f'("," space {pairs[name]})? {rest}')
            return f"({' | '.join(starts)})?"
        starts = []  # without required properties any optional one may be the first
        for index, name in enumerate(optional):
            rest = "".join(f' ("," space {pairs[other]})?' for other in optional[index + 1 :])
            starts.append(pairs[name] + rest + (f' ("," space {more})*' if more else ""))
        if more:
            starts.append(f'{more} ("," space {more})*')
        return f"({' | '.join(starts)})?"

    # --- lists ---

    def _listed(self, item: str, low: int, high: int | None) -> str:
        """So many of an item with commas between them."""
        if high == 0:
            return ""
        more = f'("," space {item}){{{max(low - 1, 0)},{"" if high is None else high - 1}}}'
        return f"{item} {more}" if low else f"({item} {more})?"

    def _array(self, schema: Mapping[str, Any], at: str, depth: int) -> str:
        self._note(schema, _UNHELD_OF_ARRAYS)
        self._rules.use("space")
        items, first = schema.get("items", True), schema.get("prefixItems")
        if isinstance(items, list):  # as older drafts write it
            items, first = schema.get("additionalItems", True), items
        low, high = self._counts(schema, "minItems", "maxItems", at)
        if first:
            rest = items if "items" in schema and not isinstance(schema["items"], list) else False
            rest = schema.get("additionalItems", rest)
            return self._tuple(first, rest, low if "minItems" in schema else len(first), high, at, depth)
        try:
            item = self.rule(items, f"{at}.items", depth + 1)
        except _NothingFits:
            if low:
                raise
            item, high = "", 0
        return self._rules.new(f'"[" space {self._listed(item, low, high)} space "]"')

    def _tuple(self, first: list[Any], rest: Any, low: int, high: int | None, at: str, depth: int) -> str:
        """Items each with a schema of its own, and more behind them, if any."""
        wanted = first if high is None else first[:high]
        parts = [self.rule(each, f"{at}.prefixItems[{number}]", depth + 1) for number, each in enumerate(wanted)]
        more = ""
        if (rest is not False and rest is not None) or low > len(first):
            least, most = max(low - len(first), 0), None if high is None else high - len(first)
            if most is None or most > 0:
                item = self.rule(rest if rest is not False else True, f"{at}.items", depth + 1)
                more = f' ("," space {item}){{{least},{"" if most is None else most}}}'
        for number in range(len(parts) - 1, 0, -1):
            more = f' "," space {parts[number]}{more}'
            if number >= low:
                more = f" ({more.strip()})?"
        inner = (parts[0] + more) if parts else ""
        return self._rules.new(f'"[" space {inner if low or not parts else f"({inner})?"} space "]"')

    # --- texts and numbers ---

    def _string(self, schema: Mapping[str, Any], at: str) -> str:
        low, high = self._counts(schema, "minLength", "maxLength", at)
        pattern, kind = schema.get("pattern"), schema.get("format")
        if pattern is not None:
            self._note(schema, frozenset({"format"}))
            self._rules.use("char")
            try:
                body, exact = pattern_body(parsed(pattern), self._rules.shared, low, high)
            except BadPattern:  # whoever reads the answer knows more of it
                body, exact = "char*", False
            self.exact = self.exact and exact
        elif kind in BODIES:
            self.exact = self.exact and kind in EXACT and not low and high is None
            body = f"({BODIES[kind]})"
        else:
            self.exact = self.exact and kind is None
            if low == 0 and high is None:
                return self._rules.use("string")
            self._rules.use("char")
            body = f"char{{{low},{'' if high is None else high}}}"
        return self._rules.shared(f'"\\"" {body} "\\""')

    def _numeric(self, kind: str, schema: Mapping[str, Any], at: str) -> str:
        bounds, divisor = bounds_of(schema, at), divisor_of(schema, at)
        if divisor is not None:
            if divisor == int(divisor):
                return self._multiples(int(divisor), kind, bounds, at)
            self.exact = False
        if kind == "integer":
            return self._whole(bounds, at)
        if bounds.low is None and bounds.high is None:
            return self._rules.use("number")
        if bounds.low == 0 and bounds.high is None and not bounds.over:
            return self._rules.new(COMMON["number"].removeprefix('"-"? '))
        self.exact = False
        if bounds.low is not None and bounds.high is not None and bounds.low > bounds.high:
            raise _NothingFits(at)
        body = number_body(bounds)
        return self._rules.use("number") if body is None else self._rules.new(body)

    def _whole(self, bounds: Bounds, at: str) -> str:
        low, high = _whole_bounds(bounds)
        if low is None and high is None:
            return self._rules.use("integer")
        if low == 0 and high is None:
            return self._rules.new(COMMON["integer"].removeprefix('"-"? '))
        body = integer_body(low, high)
        if body is None:
            raise _NothingFits(at)
        return self._rules.new(body)

    def _multiples(self, divisor: int, kind: str, bounds: Bounds, at: str) -> str:
        low, high = _whole_bounds(bounds)
        if divisor == 1:
            return self._whole(bounds, at)
        if low is not None and high is not None and (high - low) // divisor <= _MOST_REPEATS:
            found = range(-(-low // divisor) * divisor, high + 1, divisor)
            if not found:
                raise _NothingFits(at)
            return self._rules.one_of([str(number) for number in found])
        if ending(divisor):
            return self._multiples_by_ending(divisor, low, high)
        self.exact = self.exact and divisor <= _MOST_DIVISOR and low in (None, 0) and high is None
        if divisor > _MOST_DIVISOR:
            return self._whole(bounds, at)
        start, rules = multiples_bodies(divisor, lambda rest, left: f"{self._prefix}of{divisor}-{rest}-{left}")
        for name, body in rules.items():
            if name not in self._rules.bodies:
                self._rules.set(name, body)
        return self._rules.new(start if low is not None and low >= 0 else f'"-"? {start}')

    def _multiples_by_ending(self, divisor: int, low: int | None, high: int | None) -> str:
        parts = []
        if high is None or high >= 0:
            parts.append(("", multiples_by_ending(divisor, max(low or 0, 0), high)))
        if low is None or low < 0:
            least = -high if high is not None and high < 0 else 1
            parts.append(('"-" ', multiples_by_ending(divisor, least, None if low is None else -low)))
        options = []
        for sign, (texts, before, ends) in parts:
            if texts:
                options.append(sign + self._rules.one_of(texts))
            if before is not None:
                options.append(f"{sign}{before} {self._rules.one_of(ends)}")
        return self._rules.new(" | ".join(options))

    def _counts(self, schema: Mapping[str, Any], lower: str, upper: str, at: str) -> tuple[int, int | None]:
        """How many there may be, as far as a grammar counts."""
        low, high = count_of(schema, lower, at) or 0, count_of(schema, upper, at)
        if high is not None and low > high:
            raise _NothingFits(at)
        if low > _MOST_REPEATS or (high is not None and high > _MOST_REPEATS):
            self.exact = False
            return min(low, _MOST_REPEATS), None
        return low, high


def schema_rules(
    schema: Mapping[str, Any], prefix: str = "", *, lenient: bool = False
) -> tuple[str, dict[str, str], bool]:
    """Returns the rule of a schema, all rules that it needs, and whether they allow nothing that does not fit.

    `prefix` keeps the rules of several schemas apart. `lenient`: a pattern that cannot be checked is left out.
    """
    try:
        check_schema(schema, lenient=lenient)
        builder = _Builder(schema, prefix)
        return *builder.build(), builder.exact
    except _NothingFits as error:
        raise BadGrammar(f"nothing fits `{str(error)[:200]}`", field="schema") from None
    except (RecursionError, MemoryError) as error:
        raise BadGrammar("the schema is too large or nested too deep", field="schema") from error


def schema_grammar(schema: Mapping[str, Any]) -> str:
    """Returns the GBNF of a JSON Schema; raises `BadGrammar` for what is none, and for what cannot be checked."""
    return exact_grammar(schema)[0]


def exact_grammar(schema: Mapping[str, Any]) -> tuple[str, bool]:
    """Returns the GBNF of a JSON Schema, and whether every answer that it allows fits the schema."""
    root, rules, exact = schema_rules(schema)
    return grammar_text(root, rules), exact
