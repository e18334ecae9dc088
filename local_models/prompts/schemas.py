"""What a JSON Schema says, read for the grammar and for the check alike: references, bounds, types, parts that hold
together. Pure.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

from local_models.errors import BadGrammar
from local_models.prompts.patterns import BadPattern, matcher

T = TypeVar("T")

Schema = Mapping[str, Any]
# Keyword -> how it holds schemas: one, a list of them, or an object of them. What is only defined is read where it is
# referred to.
_HOLDING = {
    **dict.fromkeys(("additionalProperties", "propertyNames", "items", "additionalItems", "contains", "not"), "one"),
    **dict.fromkeys(("if", "then", "else"), "one"),
    **dict.fromkeys(("anyOf", "oneOf", "allOf", "prefixItems"), "list"),
    **dict.fromkeys(("properties", "patternProperties", "dependentSchemas"), "object"),
}
_OF_TYPES = {
    "object": (
        *("properties", "required", "additionalProperties", "patternProperties", "propertyNames"),
        *("minProperties", "maxProperties", "dependentRequired", "dependentSchemas", "unevaluatedProperties"),
    ),
    "array": (
        *("items", "prefixItems", "additionalItems", "minItems", "maxItems", "uniqueItems", "contains"),
        *("minContains", "maxContains", "unevaluatedItems"),
    ),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
}
_PYTHON: dict[str, type] = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
_ALL_TYPES = {"$ref", "type", "enum", "const", "not", "if", "then", "else", "anyOf", "oneOf", "allOf", "nullable"}
#: The keywords that say something about a value; all others are remarks.
CONSTRAINTS = frozenset(_ALL_TYPES.union(*_OF_TYPES.values()))
_COUNTS = (
    *("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"),
    *("minContains", "maxContains"),
)
_KINDS: dict[str, type] = {"enum": list, "required": list, "pattern": str, "format": str, "uniqueItems": bool}
_KINDS |= {"dependentRequired": Mapping, "patternProperties": Mapping}
_CANNOT = ("$dynamicRef", "$recursiveRef")
_MOST_PARTS = 20_000  # schemas within one


class Bounds(NamedTuple):
    """Bounds of a number, as they are written; `over` and `under`: the bound itself is left out."""

    low: Decimal | None
    high: Decimal | None
    over: bool
    under: bool


def refused(at: str, why: str) -> BadGrammar:
    """The error of a schema that cannot be used; `at` is a place in it."""
    return BadGrammar(f"`{at[:200]}` {why}", field="schema")


def resolved(root: Schema, target: Any, at: str) -> Any:
    """What a reference within a schema points to."""
    if not isinstance(target, str) or not target.startswith("#"):
        raise refused(f"{at}.$ref", f"leaves the schema: {target!r}")
    found: Any = root
    for part in target.lstrip("#/").split("/") if target not in ("#", "#/") else ():
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, list) and key.isdigit() and int(key) < len(found):
            found = found[int(key)]
        elif isinstance(found, Mapping) and key in found:
            found = found[key]
        else:
            raise refused(f"{at}.$ref", f"points to nothing: {target}")
    return found


def constrains(schema: Schema) -> bool:
    """Whether a schema says anything about a value."""
    return not CONSTRAINTS.isdisjoint(schema)


def types_of(schema: Schema, at: str) -> list[str]:
    """The types that a schema names, or that its keywords are about; none: any."""
    given = schema.get("type")
    if given is None:
        return [kind for kind, keywords in _OF_TYPES.items() if any(keyword in schema for keyword in keywords)]
    kinds = list(given) if isinstance(given, list) else [given]
    for kind in kinds:
        if kind not in ("object", "array", "string", "number", "integer", "boolean", "null"):
            raise refused(f"{at}.type", f"is {kind!r}")
    return kinds


def is_of_type(value: Any, kind: str) -> bool:
    """Whether a value is of a type of JSON Schema."""
    if kind == "integer":
        return (isinstance(value, int) and not isinstance(value, bool)) or (
            isinstance(value, float) and value.is_integer()
        )
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    return isinstance(value, _PYTHON[kind])


def count_of(schema: Schema, keyword: str, at: str) -> int | None:
    """The count that a keyword says, as `minItems`."""
    value = schema.get(keyword)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise refused(f"{at}.{keyword}", "is no count")
    return value


def bounds_of(schema: Schema, at: str) -> Bounds:
    """The bounds of a number; those of older drafts, where `exclusiveMinimum` is true or false, too."""
    low, high = _number(schema, "minimum", at), _number(schema, "maximum", at)
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    over, under = above is True, below is True
    if not isinstance(above, bool) and (bound := _number(schema, "exclusiveMinimum", at)) is not None:
        low, over = (bound, True) if low is None or bound >= low else (low, False)
    if not isinstance(below, bool) and (bound := _number(schema, "exclusiveMaximum", at)) is not None:
        high, under = (bound, True) if high is None or bound <= high else (high, False)
    return Bounds(low, high, over, under)


def divisor_of(schema: Schema, at: str) -> Decimal | None:
    """What the value is a multiple of."""
    found = _number(schema, "multipleOf", at)
    if found is not None and found <= 0:
        raise refused(f"{at}.multipleOf", "is a number above 0")
    return found


def _number(schema: Schema, keyword: str, at: str) -> Decimal | None:
    value = schema.get(keyword)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise refused(f"{at}.{keyword}", "is no number")
    bound = Decimal(repr(value))
    if not bound.is_finite():
        raise refused(f"{at}.{keyword}", "is no finite number")
    return bound


def check_schema(schema: Any, *, lenient: bool = False) -> None:
    """Raises `BadGrammar` for what is no JSON Schema, and for what can neither be held nor checked.

    `lenient`: a pattern that cannot be matched is left to whoever reads the answer.
    """
    todo: list[tuple[str, Any]] = [("schema", schema)]
    followed: set[str] = set()
    for count, (at, each) in enumerate(_drained(todo)):
        if count > _MOST_PARTS:
            raise refused("schema", f"has more than {_MOST_PARTS} parts")
        if isinstance(each, bool):
            continue
        if not isinstance(each, Mapping):
            raise refused(at, "is not a schema")
        _check_values(each, at, lenient)
        target = each.get("$ref")
        if target is not None:
            found = resolved(schema, target, at)
            if target not in followed:
                followed.add(target)
                todo.append((target, found))
        for keyword in _HOLDING.keys() & each.keys():
            todo += _held(keyword, each[keyword], f"{at}.{keyword}")


def _drained(todo: list[T]) -> Iterator[T]:
    while todo:
        yield todo.pop()


def _held(keyword: str, value: Any, at: str) -> list[tuple[str, Any]]:
    """The schemas that a keyword holds, each with its place."""
    kind = _HOLDING[keyword]
    if kind == "object":
        if not isinstance(value, Mapping):
            raise refused(at, "is no object of schemas")
        return [(f"{at}.{name}", each) for name, each in value.items()]
    if kind == "one" and not (keyword == "items" and isinstance(value, list)):
        return [(at, value)]
    if not isinstance(value, list) or (not value and keyword != "items"):
        raise refused(at, "is no list of schemas")
    return [(f"{at}[{number}]", each) for number, each in enumerate(value)]


def _check_values(schema: Schema, at: str, lenient: bool) -> None:
    for keyword in _CANNOT:
        if keyword in schema:
            raise refused(f"{at}.{keyword}", "is not known")
    types_of(schema, at)
    bounds_of(schema, at)
    divisor_of(schema, at)
    for keyword in _COUNTS:
        count_of(schema, keyword, at)
    for keyword, kind in _KINDS.items():
        if schema.get(keyword) is not None and not isinstance(schema[keyword], kind):
            raise refused(f"{at}.{keyword}", "has a value that it cannot have")
    if schema.get("enum") == []:
        raise refused(f"{at}.enum", "is not a list of values")
    names = [schema.get("required", []), *(schema.get("dependentRequired") or {}).values()]
    if not all(isinstance(each, list) and all(isinstance(name, str) for name in each) for each in names):
        raise refused(f"{at}.required", "is no list of names")
    if not lenient:
        patterns = [(f"{at}.pattern", schema.get("pattern"))]
        patterns += [(f"{at}.patternProperties", name) for name in schema.get("patternProperties") or ()]
        for place, pattern in patterns:
            try:
                if pattern is not None:
                    matcher(pattern)
            except BadPattern as error:
                raise refused(place, f"cannot be checked: {error}") from None


# --- schemas that hold together ---

_LARGEST = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties", "minContains")
_SMALLEST = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties", "maxContains")


def combined(root: Schema, schemas: list[Any], at: str) -> dict[str, Any] | None:
    """One schema for a value that fits all of several, as far as a grammar needs to know: where two of a keyword do
    not become one the first is taken, and the answer is checked. None: no value fits all."""
    parts = list(_flattened(root, schemas, at))
    if any(part is False for part in parts):
        return None
    merged: dict[str, Any] = {}
    for part in parts:
        for keyword, value in part.items():
            if keyword not in CONSTRAINTS or keyword in ("properties", "additionalProperties"):
                continue
            if keyword not in merged:
                merged[keyword] = value
            elif keyword == "type":
                merged["type"] = _common_types(merged["type"], value)
            elif keyword == "required":
                merged["required"] = list(dict.fromkeys([*merged["required"], *value]))
            elif keyword == "enum":
                merged["enum"] = [each for each in merged["enum"] if each in value]
            elif keyword in _LARGEST + _SMALLEST and not isinstance(value, bool):
                merged[keyword] = (max if keyword in _LARGEST else min)(merged[keyword], value)
            elif keyword in ("items", "propertyNames") and merged[keyword] != value:
                merged[keyword] = {"allOf": [merged[keyword], value]}
            elif keyword == "const" and merged["const"] != value:
                return None
    if merged.get("type") == [] or merged.get("enum") == []:
        return None
    _combine_properties(merged, parts)
    return merged


def _flattened(root: Schema, schemas: list[Any], at: str) -> Iterator[Any]:
    """The schemas without references and `allOf`; False for one that nothing fits."""
    seen: set[str] = set()
    todo = list(reversed(schemas))
    count = 0
    while todo:
        schema = todo.pop()
        count += 1
        if count > 1000:
            raise refused(at, "holds more than 1000 schemas together")
        if schema is False:
            yield False
        if schema is True or schema is False:
            continue
        if not isinstance(schema, Mapping):
            raise refused(at, "is not a schema")
        rest = {keyword: value for keyword, value in schema.items() if keyword not in ("$ref", "allOf")}
        todo += reversed(schema.get("allOf", []))
        target = schema.get("$ref")
        if target is not None and target not in seen:
            seen.add(target)
            todo.append(resolved(root, target, at))
        yield rest


def _common_types(first: Any, second: Any) -> list[str]:
    one, other = (list(each) if isinstance(each, list) else [each] for each in (first, second))
    common = [kind for kind in one if kind in other or (kind == "integer" and "number" in other)]
    return common + (["integer"] if "integer" in other and "number" in one and "integer" not in one else [])


def _combine_properties(merged: dict[str, Any], parts: list[Schema]) -> None:
    holding = [part for part in parts if "properties" in part or "additionalProperties" in part]
    if not holding:
        return
    properties: dict[str, Any] = {}
    for name in dict.fromkeys(name for part in holding for name in part.get("properties", {})):
        found: list[Any] = []
        for part in holding:
            others = part.get("additionalProperties", True) if "patternProperties" not in part else True
            each = part.get("properties", {}).get(name, others)
            if each is not True and each not in found:
                found.append(each)
        properties[name] = True if not found else found[0] if len(found) == 1 else {"allOf": found}
    merged["properties"] = properties
    others = [part["additionalProperties"] for part in holding if "additionalProperties" in part]
    if False in others:
        merged["additionalProperties"] = False
    elif others and len(others) == len(holding):
        merged["additionalProperties"] = others[0] if len(others) == 1 else {"allOf": others}
