"""Check of a value against a JSON Schema, for the keywords that a grammar cannot hold. Pure.

It says which keyword at which place does not fit, and never what stands there. Its work is counted, since schemas and
patterns come from callers: a check that would take too long is given up, and says so.
"""

import json
from collections.abc import Iterator, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from local_models.prompts.formats import fits_format
from local_models.prompts.patterns import BadPattern, OutOfSteps, Steps, matcher
from local_models.prompts.schemas import (
    Schema,
    bounds_of,
    constrains,
    count_of,
    divisor_of,
    is_of_type,
    resolved,
    types_of,
)

STEPS, STEPS_A_CHARACTER = 100_000, 20  # work of one check: some tenths of a second, and more for a long answer
_STEPS_A_SCHEMA = 10
_DEEPEST = 200
_LONGEST_PATH = 200  # characters


class Misfit(NamedTuple):
    """What does not fit: a keyword of the schema, at a place in the answer."""

    path: str  # as in `$.orders[2].price`
    keyword: str
    why: str

    def __str__(self) -> str:
        return f"`{self.keyword}` at {self.path}: {self.why}"


Found = Iterator[Misfit]
"""What does not fit, the first of which counts."""


def misfit_of_text(schema: Schema, text: str) -> Misfit | None:
    """The first thing in a JSON text that does not fit a schema; None: it fits."""
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return Misfit("$", "type", "it is no JSON")
    return misfit(schema, value, len(text))


def misfit(schema: Schema, value: Any, size: int = 0) -> Misfit | None:
    """The first thing in a value that does not fit a schema; None: it fits. `size` is that of the value's text."""
    check = _Check(schema, Steps(STEPS + STEPS_A_CHARACTER * size))
    try:
        return check.first(schema, value, "$", 0)
    except OutOfSteps:
        return Misfit(check.place[:_LONGEST_PATH], check.keyword, "it would take too long to check")
    except RecursionError:
        return Misfit("$", "$ref", "it is nested too deep to check")


class _Check:
    """One check. `place` and `keyword` are what it is at."""

    def __init__(self, root: Schema, steps: Steps) -> None:
        self._root, self._steps = root, steps
        self.place, self.keyword = "$", "type"

    def first(self, schema: Any, value: Any, path: str, depth: int) -> Misfit | None:
        """The first thing that does not fit."""
        return next(self._misfits(schema, value, path, depth), None)

    def _fits(self, schema: Any, value: Any, path: str, depth: int) -> bool:
        return self.first(schema, value, path, depth) is None

    def _misfits(self, schema: Any, value: Any, path: str, depth: int) -> Found:
        self._steps.take(_STEPS_A_SCHEMA)
        self.place = path
        if depth > _DEEPEST:
            raise RecursionError
        if schema is False:
            yield _unfit(path, "false", "nothing may stand here")
        if isinstance(schema, bool) or not constrains(schema):
            return
        if value is None and schema.get("nullable") is True:
            return
        yield from self._of_any_type(schema, value, path, depth)
        if isinstance(value, dict):
            yield from self._of_object(schema, value, path, depth)
        elif isinstance(value, list):
            yield from self._of_array(schema, value, path, depth)
        elif isinstance(value, str):
            yield from self._of_string(schema, value, path)
        elif is_of_type(value, "number"):
            yield from self._of_number(schema, value, path)

    def _of_any_type(self, schema: Schema, value: Any, path: str, depth: int) -> Found:
        if "type" in schema:
            kinds = types_of(schema, "schema")
            if not any(is_of_type(value, kind) for kind in kinds):
                yield _unfit(path, "type", f"it is not of the type {' or '.join(kinds)}")
        if "enum" in schema or "const" in schema:
            self._steps.take(_size(value))
            same = _same(value)
            if "const" in schema and _same(schema["const"]) != same:
                yield _unfit(path, "const", "it is another value")
            self._steps.take(len(schema.get("enum", ())))
            if "enum" in schema and all(_same(each) != same for each in schema["enum"]):
                yield _unfit(path, "enum", "it is none of the values")
        if "$ref" in schema:
            yield from self._misfits(resolved(self._root, schema["$ref"], "schema"), value, path, depth + 1)
        for each in schema.get("allOf", ()):
            yield from self._misfits(each, value, path, depth + 1)
        if "anyOf" in schema and not any(self._fits(each, value, path, depth + 1) for each in schema["anyOf"]):
            yield _unfit(path, "anyOf", "it fits none of the schemas")
        if "oneOf" in schema:
            count = sum(self._fits(each, value, path, depth + 1) for each in schema["oneOf"])
            if count != 1:
                yield _unfit(path, "oneOf", f"it fits {count or 'none'} of the schemas, and must fit one")
        if "not" in schema and self._fits(schema["not"], value, path, depth + 1):
            yield _unfit(path, "not", "it fits what it must not")
        if "if" in schema:
            branch = "then" if self._fits(schema["if"], value, path, depth + 1) else "else"
            yield from self._misfits(schema.get(branch, True), value, path, depth + 1)

    def _of_object(self, schema: Schema, value: dict[str, Any], path: str, depth: int) -> Found:
        yield from self._count(schema, len(value), "Properties", "members", path)
        missing = next((name for name in schema.get("required", ()) if name not in value), None)
        if missing is not None:
            yield _unfit(path, "required", f"{missing[:80]!r} is missing")
        for name, needed in schema.get("dependentRequired", {}).items():
            if name in value and not all(each in value for each in needed):
                yield _unfit(path, "dependentRequired", f"{name[:80]!r} needs others that are missing")
        for name, each in schema.get("dependentSchemas", {}).items():
            if name in value:
                yield from self._misfits(each, value, path, depth + 1)
        names = schema.get("propertyNames")
        properties = schema.get("properties", {})
        patterns = schema.get("patternProperties", {})
        for name, member in value.items():
            inner = f"{path}.{name[:80]}"
            if names is not None and not self._fits(names, name, inner, depth + 1):
                yield _unfit(inner, "propertyNames", "a name like this may not stand here")
            known = [properties[name]] if name in properties else []
            known += [each for pattern, each in patterns.items() if self._matches(pattern, name, path)]
            if not known and "additionalProperties" in schema:
                if schema["additionalProperties"] is False:
                    yield _unfit(inner, "additionalProperties", "it is not among the properties")
                known = [schema["additionalProperties"]]
            for each in known:
                yield from self._misfits(each, member, inner, depth + 1)

    def _of_array(self, schema: Schema, value: list[Any], path: str, depth: int) -> Found:
        yield from self._count(schema, len(value), "Items", "items", path)
        items, first = schema.get("items", True), schema.get("prefixItems", [])
        if isinstance(items, list):
            items, first = schema.get("additionalItems", True), items
        for at, each in enumerate(value):
            yield from self._misfits(first[at] if at < len(first) else items, each, f"{path}[{at}]", depth + 1)
        if schema.get("uniqueItems") is True:
            self.place, self.keyword = path, "uniqueItems"
            self._steps.take(_size(value))
            if len({_same(each) for each in value}) < len(value):
                yield _unfit(path, "uniqueItems", "two items are the same")
        if "contains" in schema:
            count = sum(self._fits(schema["contains"], each, path, depth + 1) for each in value)
            least, most = count_of(schema, "minContains", "schema"), count_of(schema, "maxContains", "schema")
            if count < (1 if least is None else least) or (most is not None and count > most):
                yield _unfit(path, "contains", f"{count} of its items fit")

    def _of_string(self, schema: Schema, value: str, path: str) -> Found:
        yield from self._count(schema, len(value), "Length", "characters", path)
        pattern, kind = schema.get("pattern"), schema.get("format")
        if pattern is not None and not self._matches(pattern, value, path):
            yield _unfit(path, "pattern", "it does not match")
        if kind is not None and not fits_format(kind, value):
            yield _unfit(path, "format", f"it is no {kind[:40]}")

    def _of_number(self, schema: Schema, value: float, path: str) -> Found:
        bounds, divisor = bounds_of(schema, "schema"), divisor_of(schema, "schema")
        number = Decimal(repr(value))  # as it was written: a float is no more than near it
        if bounds.low is not None and (number < bounds.low or (bounds.over and number == bounds.low)):
            yield _unfit(path, "exclusiveMinimum" if bounds.over else "minimum", "it is too small")
        if bounds.high is not None and (number > bounds.high or (bounds.under and number == bounds.high)):
            yield _unfit(path, "exclusiveMaximum" if bounds.under else "maximum", "it is too large")
        if divisor is not None and not _is_multiple(value, Fraction(divisor)):
            yield _unfit(path, "multipleOf", "it is no multiple")

    def _count(self, schema: Schema, count: int, what: str, of: str, path: str) -> Found:
        least, most = count_of(schema, f"min{what}", "schema"), count_of(schema, f"max{what}", "schema")
        if least is not None and count < least:
            yield _unfit(path, f"min{what}", f"it has {count} {of}")
        if most is not None and count > most:
            yield _unfit(path, f"max{what}", f"it has {count} {of}")

    def _matches(self, pattern: str, text: str, path: str) -> bool:
        self.place, self.keyword = path, "pattern"
        try:
            return matcher(pattern).found_in(text, self._steps)
        except BadPattern:  # left to whoever reads the answer: a schema with one is refused where that is not allowed
            return True


def _unfit(path: str, keyword: str, why: str) -> Misfit:
    return Misfit(path[:_LONGEST_PATH], keyword, why)


def _refuse_constant(name: str) -> None:
    raise ValueError(name)


def _is_multiple(value: float, divisor: Fraction) -> bool:
    try:
        return (Fraction(repr(value)) / divisor).denominator == 1
    except ValueError:  # an infinite number
        return False


def _size(value: Any) -> int:
    """How many values there are within one."""
    count, todo = 0, [value]
    while todo:
        each = todo.pop()
        count += 1
        if isinstance(each, Mapping):
            todo += each.values()
        elif isinstance(each, list):
            todo += each
    return count


def _same(value: Any) -> Any:
    """The same for values that JSON Schema takes for the same: 1 and 1.0, and not 1 and true."""
    if isinstance(value, Mapping):
        return "object", frozenset((name, _same(each)) for name, each in value.items())
    if isinstance(value, list):
        return "array", tuple(map(_same, value))
    return isinstance(value, bool), value
