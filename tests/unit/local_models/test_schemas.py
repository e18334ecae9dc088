"""Schemas as pydantic and Zod write them, and every keyword: what the grammar lets through, and what the check says."""

import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal, NamedTuple, Optional, Union
from uuid import UUID

import pytest
from pydantic import AnyUrl, Base64Str, BaseModel, ConfigDict, Field, TypeAdapter

from local_models.errors import BadGrammar
from local_models.files.catalogue import TINY
from local_models.llama import Weights
from local_models.prompts.gbnf import check_grammar
from local_models.prompts.grammar import exact_grammar, schema_grammar
from local_models.prompts.schema_check import misfit, misfit_of_text
from tests.support.local_models.grammars import allows

Schema = dict[str, Any]
OBJECT: Schema = {"type": "object"}
NAMES: Schema = {"properties": {"a": {"type": "string"}, "b": {"type": "string"}}}
ZOD_EMAIL = r"^(?!\.)(?!.*\.\.)([A-Za-z0-9_'+\-\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$"
ZOD_UUID = (
    "^([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[1-8][0-9a-fA-F]{3}-[89abAB][0-9a-fA-F]{3}-[0-9a-fA-F]{12}"
    "|00000000-0000-0000-0000-000000000000)$"
)
ZOD_TIME = (
    r"^(?:(?:\d\d[2468][048]|\d\d[13579][26]|\d\d0[48]|[02468][048]00|[13579][26]00)-02-29|\d{4}-(?:(?:0[13578]|1[02])"
    r"-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|(?:02)-(?:0[1-9]|1\d|2[0-8])))"
    r"T(?:(?:[01]\d|2[0-3]):[0-5]\d(?::[0-5]\d(?:\.\d+)?)?(?:Z))$"
)
TREE: Schema = {
    "$defs": {
        "tree": {
            "type": "object",
            "properties": {
                "value": {"type": "integer", "multipleOf": 5},
                "next": {"type": "array", "items": {"$ref": "#/$defs/tree"}},
            },
            "required": ["value"],
            "additionalProperties": False,
        }
    },
    "$ref": "#/$defs/tree",
}
PETS: Schema = {
    "oneOf": [
        {
            "type": "object",
            "properties": {"kind": {"type": "string", "const": "cat"}, "lives": {"type": "integer", "maximum": 9}},
            "required": ["kind", "lives"],
            "additionalProperties": False,
        },
        {
            "type": "object",
            "properties": {"kind": {"type": "string", "const": "dog"}, "kilos": {"type": "number", "minimum": 0}},
            "required": ["kind", "kilos"],
            "additionalProperties": False,
        },
    ]
}


class Row(NamedTuple):
    """A schema, values that fit it, and values that do not with the keyword that says so."""

    schema: Schema
    fits: list[Any]
    not_fits: list[tuple[Any, str]]
    held: bool = True  # the grammar itself refuses what does not fit


def whole(**bounds: Any) -> Schema:
    return {"type": "integer", **bounds}


def text(**bounds: Any) -> Schema:
    return {"type": "string", **bounds}


ROWS = [
    # numbers
    Row(whole(minimum=1), [1, 9, 10, 123456], [(0, "minimum"), (-4, "minimum")]),
    Row(whole(exclusiveMinimum=0), [1, 55], [(0, "exclusiveMinimum"), (-1, "exclusiveMinimum")]),
    Row(whole(maximum=-3), [-3, -400], [(-2, "maximum"), (7, "maximum")]),
    Row(whole(minimum=-12, maximum=3456), [-12, 0, 999, 3456], [(-13, "minimum"), (3457, "maximum")]),
    Row(whole(minimum=-(2**53 - 1), maximum=2**53 - 1), [2**53 - 1, -5], [(2**53, "maximum")]),
    Row(whole(minimum=1.5, exclusiveMaximum=4.0), [2, 3], [(1, "minimum"), (4, "exclusiveMaximum")]),
    Row(whole(minimum=0, exclusiveMinimum=True), [1], [(0, "exclusiveMinimum")]),
    Row(whole(multipleOf=7), [0, 7, 777, -14], [(8, "multipleOf"), (100, "multipleOf")]),
    Row(whole(multipleOf=5, minimum=3, maximum=21), [5, 20], [(0, "minimum"), (12, "multipleOf"), (25, "maximum")]),
    Row(whole(multipleOf=250), [0, 750, -1250], [(255, "multipleOf"), (25, "multipleOf")]),
    Row(whole(multipleOf=10, minimum=0), [0, 10, 12340], [(5, "multipleOf"), (-10, "minimum")]),
    Row(whole(multipleOf=5, maximum=900), [-5, 0, 900, -1235], [(905, "maximum"), (12, "multipleOf")]),
    Row(
        whole(multipleOf=20, minimum=-70, maximum=123_450),
        [-60, 0, 20, 100, 123_440],
        [(-80, "minimum"), (123_460, "maximum"), (90, "multipleOf")],
    ),
    Row(whole(multipleOf=4, minimum=1234), [1236, 99_996], [(1232, "minimum"), (1234, "multipleOf")]),
    Row(whole(multipleOf=36), [0, 36, -72, 3600], [(35, "multipleOf"), (370, "multipleOf")]),
    Row(whole(multipleOf=60), [0, 60], [(61, "multipleOf")], held=False),
    Row(
        {"type": "number", "minimum": 0.5, "maximum": 2.25}, [0.5, 1, 2.25, 2.0], [(0.25, "minimum"), (2.3, "maximum")]
    ),
    Row({"type": "number", "exclusiveMinimum": 0}, [0.001, 3], [(0, "exclusiveMinimum"), (-1.5, "exclusiveMinimum")]),
    Row({"type": "number", "minimum": -1, "maximum": 1}, [-1, -0.5, 0.1, 1.0], [(1.01, "maximum"), (-2, "minimum")]),
    Row({"type": "number", "maximum": 0.1}, [0.1, -3.5], [(0.2, "maximum")]),
    Row({"type": "number", "multipleOf": 0.01}, [0.1, 1.15, 3], [(0.001, "multipleOf")], held=False),
    Row({"type": ["integer", "null"], "minimum": 3}, [3, None], [(2, "minimum"), ("3", "type")]),
    # texts
    Row(text(minLength=2, maxLength=4), ["ab", "abcd"], [("a", "minLength"), ("abcde", "maxLength")]),
    Row(text(pattern="^[A-Z]{3}-\\d+$"), ["ABC-1", "XYZ-999"], [("ABC-", "pattern"), ("abc-1", "pattern")]),
    Row(text(pattern="b+"), ["abc", "bb"], [("ac", "pattern")]),
    Row(text(pattern='^"\\w+"\\\\$'), ['"a"\\'], [('"a"', "pattern")]),
    Row(text(pattern="^(a|b)*$"), ["", "abba"], [("abc", "pattern")]),
    Row(text(pattern="^(?:(?:a?)*b?)*$"), ["", "aab"], [("c", "pattern")]),
    Row(text(pattern="^[a-z]+$", maxLength=3), ["abc"], [("abcd", "maxLength"), ("A", "pattern")]),
    Row(text(pattern="^a.*z$", maxLength=4), ["abcz"], [("abbbz", "maxLength")], held=False),
    Row(text(pattern="^[^\\s]{2,}$"), ["ab", "äö"], [("a b", "pattern")]),
    Row(text(pattern="^\\p{Lu}\\p{L}*$"), ["Äb"], [("äb", "pattern")], held=False),
    Row(text(pattern="\\bcat\\b"), ["a cat"], [("concat", "pattern")], held=False),
    Row(text(pattern="^.{1,900}$"), ["a" * 30], [("", "pattern")]),
    Row(text(pattern="^(?:[a-z]{20}-){90}$"), [], [("a", "pattern")], held=False),
    Row(
        text(pattern=r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"), ["1.50", "-3"], [("", "pattern"), ("+", "pattern")], held=False
    ),
    Row(text(format="email", pattern=ZOD_EMAIL), ["a.b@example.com"], [("a..b@example.com", "pattern")], held=False),
    Row(text(format="uuid", pattern=ZOD_UUID), ["123e4567-e89b-42d3-a456-426614174000"], [("123", "pattern")]),
    Row(text(format="date-time", pattern=ZOD_TIME), ["2024-02-29T10:20:30Z"], [("2023-02-29T10:20:30Z", "pattern")]),
    Row(text(format="date-time"), ["2024-02-29T10:20:30.5+02:00"], [("2024-02-30T10:20:30Z", "format")]),
    Row(text(format="date"), ["2024-02-29"], [("2024-13-01", "format"), ("24-1-1", "format")]),
    Row(text(format="date"), ["2000-12-31"], [("2023-02-29", "format")], held=False),
    Row(text(format="time"), ["10:20:30", "23:59:59Z"], [("24:00:00", "format")]),
    Row(text(format="duration"), ["P1DT2H", "PT0.5S", "P3W"], [("P", "format"), ("1D", "format")]),
    Row(text(format="uuid"), ["123e4567-e89b-12d3-a456-426614174000"], [("123e4567", "format")]),
    Row(text(format="ipv4"), ["10.0.255.1"], [("10.0.256.1", "format")]),
    Row(text(format="ipv6"), ["2001:db8::1", "1:2:3:4:5:6:7:8"], [("1:2:3", "format")]),
    Row(text(format="email"), ["someone@example.com"], [("someone", "format")]),
    Row(text(format="uri"), ["https://example.com/a?b=c"], [("no uri", "format")]),
    Row(text(format="base64"), ["YWJj", "YQ=="], [("YQ=", "format")]),
    Row(text(format="path", minLength=1), ["/tmp"], [("", "minLength")]),
    # values
    Row({"enum": ["one", 2, None, True]}, ["one", 2, None, True], [(1, "enum"), (False, "enum")]),
    Row({"type": "string", "const": "a"}, ["a"], [("b", "const")]),
    Row({"const": {"a": [1, 2]}}, [{"a": [1, 2]}], [({"a": [2, 1]}, "const")]),
    Row({"type": "string", "enum": ["a", "b"], "nullable": True}, ["a", None], [("c", "enum")]),
    Row({"type": "integer", "enum": [5, 10], "minimum": 6}, [10], [(5, "minimum")], held=False),
    # lists
    Row(
        {"type": "array", "prefixItems": [whole(), text()], "minItems": 2, "maxItems": 2},
        [[1, "a"]],
        [([1], "minItems"), ([1, "a", 2], "maxItems"), (["a", 1], "type")],
    ),
    Row(
        {"type": "array", "items": [whole(), text()], "minItems": 2, "additionalItems": {"type": "boolean"}},
        [[1, "a"], [1, "a", True]],
        [([1], "minItems"), ([1, "a", 2], "type")],
    ),
    Row(
        {"type": "array", "prefixItems": [whole(), text()], "minItems": 1, "items": False},
        [[1], [1, "a"]],
        [([], "minItems"), ([1, "a", 2], "false")],
    ),
    Row(
        {"type": "array", "items": whole(), "uniqueItems": True}, [[1, 2], []], [([1, 2, 1], "uniqueItems")], held=False
    ),
    Row({"type": "array", "items": whole(), "minItems": 2, "maxItems": 3}, [[1, 2]], [([1], "minItems")]),
    Row({"type": "array", "contains": whole(minimum=5)}, [[1, 6]], [([1, 2], "contains")], held=False),
    Row({"type": "array", "items": False}, [[]], [([1], "false")]),
    # objects
    Row(
        {
            **OBJECT,
            "properties": {"a": text(), "b": {"$ref": "#/$defs/none"}, "c": {"$ref": "#/$defs/none"}},
            "additionalProperties": False,
            "$defs": {"none": False},
        },
        [{}, {"a": "x"}],
        [({"b": 1}, "false"), ({"c": []}, "false")],
    ),
    Row({**OBJECT, "additionalProperties": whole()}, [{}, {"a": 1}], [({"a": "b"}, "type")]),
    Row(
        {**OBJECT, "additionalProperties": whole(), "propertyNames": {"enum": ["x", "y"]}},
        [{"x": 1}],
        [({"z": 1}, "propertyNames")],
    ),
    Row(
        {**OBJECT, "patternProperties": {"^[a-z]+$": whole()}, "additionalProperties": False},
        [{"ab": 1}],
        [({"A": 1}, "additionalProperties"), ({"a": "b"}, "type")],
    ),
    Row({**OBJECT, "minProperties": 1, "maxProperties": 2}, [{"a": 1}], [({}, "minProperties")]),
    Row({**OBJECT, **NAMES, "minProperties": 1}, [{"a": "x"}], [({}, "minProperties")], held=False),
    Row({**OBJECT, "required": ["x"]}, [{"x": 3}], [({}, "required")]),
    Row(
        {**OBJECT, **NAMES, "dependentRequired": {"a": ["b"]}}, [{"b": "x"}], [({"a": "x"}, "dependentRequired")], False
    ),
    Row({**OBJECT, **NAMES, "dependentSchemas": {"a": {"required": ["b"]}}}, [{}], [({"a": "x"}, "required")], False),
    Row(
        {**OBJECT, **NAMES, "additionalProperties": whole()},
        [{"a": "x", "c": 1}],
        [({"a": "x", "c": "y"}, "type")],
    ),
    Row(
        {"properties": {"a": whole()}, "additionalProperties": False}, [{"a": 1}], [({"b": 1}, "additionalProperties")]
    ),
    # together
    Row({"type": "string", "not": {"enum": ["a", "b"]}}, ["c"], [("a", "not")], held=False),
    Row({"anyOf": [whole(maximum=5), text(maxLength=2)]}, [5, "ab"], [(6, "anyOf"), ("abc", "anyOf")]),
    Row({"type": "integer", "anyOf": [{"minimum": 10}, {"maximum": 3}]}, [10, 3], [(5, "anyOf")]),
    Row({"allOf": [whole(minimum=3), whole(maximum=7)]}, [3, 7], [(8, "maximum"), (2, "minimum")]),
    Row({"allOf": [text(minLength=2)], "maxLength": 3, "description": "x"}, ["abc"], [("a", "minLength")]),
    Row(
        {
            "allOf": [
                {**OBJECT, **NAMES, "required": ["a"]},
                {**OBJECT, "properties": {"b": {"minLength": 2}, "c": whole()}},
            ]
        },
        [{"a": "x", "b": "xy", "c": 1}],
        [({"b": "xy"}, "required"), ({"a": "x", "b": "x"}, "minLength")],
    ),
    Row(
        {**OBJECT, **NAMES, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        [{"a": "x"}, {"b": "x"}],
        [({}, "anyOf")],
    ),
    Row({"oneOf": [whole(), {"type": "number", "multipleOf": 0.5}]}, [0.5], [(2, "oneOf"), (0.3, "oneOf")], held=False),
    Row({"if": whole(), "then": {"minimum": 3}, "else": text()}, [4, "a"], [(2, "minimum"), ([], "type")], held=False),
    Row(PETS, [{"kind": "cat", "lives": 9}, {"kind": "dog", "kilos": 2.5}], [({"kind": "cat", "lives": 10}, "oneOf")]),
    Row(TREE, [{"value": 5, "next": [{"value": 10}]}], [({"value": 5, "next": [{"value": 6}]}, "multipleOf")]),
    Row(
        {"$defs": {"n": whole(minimum=1)}, "$ref": "#/$defs/n", "maximum": 5, "description": "beside"},
        [1, 5],
        [(0, "minimum"), (6, "maximum")],
    ),
    Row(
        {
            "$defs": {"l": {**OBJECT, "properties": {"l": {"allOf": [{"$ref": "#/$defs/l"}, {"minProperties": 0}]}}}},
            "$ref": "#/$defs/l",
        },
        [{"l": {"l": {}}}],
        [({"l": {"l": 3}}, "type")],
    ),
    Row({"title": "T", "x-order": 3, "examples": [1], "$comment": "remarks only"}, [1, "a", None], []),
]


@pytest.fixture(scope="module")
def weights() -> Weights:
    return Weights(str(TINY), gpu_layers=0, mmap=True)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: json.dumps(row.schema)[:70])
def test_what_fits_is_allowed_and_what_does_not_is_refused_or_named(row: Row, weights: Weights) -> None:
    grammar, exact = exact_grammar(row.schema)
    assert not list(check_grammar(grammar))
    for value in row.fits:
        said = json.dumps(value, ensure_ascii=False)
        assert misfit_of_text(row.schema, said) is None, said
        assert allows(weights, grammar, said), said
    for value, keyword in row.not_fits:
        said = json.dumps(value, ensure_ascii=False)
        found = misfit_of_text(row.schema, said)
        assert found is not None, said
        assert found.keyword == keyword, found
        assert allows(weights, grammar, said) is not row.held, said
    assert row.held or not exact


# --- pydantic ---


class Color(Enum):
    red = "red"
    blue = "blue"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=0, le=9)]


class Dog(BaseModel):
    kind: Literal["dog"]
    kilos: Annotated[float, Field(gt=0)]


class Node(BaseModel):
    value: Annotated[int, Field(multiple_of=5)]
    children: list["Node"] = []


class Point(NamedTuple):
    x: float
    y: float


@dataclass
class Movie:
    title: str
    year: Annotated[int, Field(ge=1888)]


class Everything(BaseModel):
    model_config = ConfigDict(extra="forbid")
    maybe: Optional[int] = None  # noqa: UP045  (as people write it)
    whole: Annotated[int, Field(gt=3, lt=1000)]
    real: Annotated[float, Field(ge=0.5, le=2.25)]
    exact: Decimal
    at: datetime
    day: date
    clock: time
    span: timedelta
    key: UUID
    code: Annotated[str, Field(pattern=r"^[A-Z]{3}-\d+$", max_length=12)]
    short: Annotated[str, Field(min_length=2, max_length=5)]
    three: tuple[int, str, bool]
    many: tuple[int, ...]
    counts: dict[str, int]
    named: dict[Literal["x", "y"], float]
    patterned: dict[Annotated[str, Field(pattern="^[a-z]+$")], int]
    color: Color
    pet: Union[Cat, Dog] = Field(discriminator="kind")  # noqa: UP007
    mixed: Annotated[list[int | str], Field(min_length=1, max_length=3)]
    unique: set[int]
    node: Node
    point: Point
    movie: Movie
    url: AnyUrl
    four: IPv4Address
    six: IPv6Address
    path: PurePosixPath
    literal: Literal["one", 2, None, True]  # noqa: PYI061  (as people write it)
    encoded: Base64Str
    anything: Any


EVERYTHING = Everything(
    whole=4,
    real=2.25,
    exact=Decimal("1.50"),
    at=datetime(2024, 2, 29, 10, 20, 30, tzinfo=UTC),
    day=date(2024, 2, 29),
    clock=time(10, 20, 30),
    span=timedelta(days=1, hours=2),
    key=UUID("123e4567-e89b-12d3-a456-426614174000"),
    code="ABC-12",
    short="abc",
    three=(1, "a", True),
    many=(1, 2, 3),
    counts={"a": 1},
    named={"x": 0.5},
    patterned={"abc": 3},
    color=Color.blue,
    pet=Dog(kind="dog", kilos=3.5),
    mixed=[1, "b"],
    unique={3},
    node=Node(value=5, children=[Node(value=10)]),
    point=Point(1.0, 2.0),
    movie=Movie("M", 1931),
    url=AnyUrl("https://example.com/"),
    four=IPv4Address("10.0.0.1"),
    six=IPv6Address("::1"),
    path=PurePosixPath("/tmp/a"),
    literal="one",
    encoded="YWJj",
    anything={"a": [1]},
)


def test_all_types_of_pydantic(weights: Weights) -> None:
    schema = Everything.model_json_schema()
    grammar = schema_grammar(schema)
    assert not list(check_grammar(grammar))
    said = json.dumps(EVERYTHING.model_dump(mode="json"))
    assert misfit_of_text(schema, said) is None
    assert allows(weights, grammar, said)
    assert Everything.model_validate_json(said).pet == EVERYTHING.pet


@pytest.mark.parametrize(
    ("change", "path", "keyword"),
    [
        ({"whole": 3}, "$.whole", "exclusiveMinimum"),
        ({"real": 2.5}, "$.real", "maximum"),
        ({"at": "2023-02-29T00:00:00Z"}, "$.at", "format"),
        ({"key": "x"}, "$.key", "format"),
        ({"code": "AB-1"}, "$.code", "pattern"),
        ({"three": [1, "a"]}, "$.three", "minItems"),
        ({"named": {"z": 1}}, "$.named.z", "propertyNames"),
        ({"color": "green"}, "$.color", "enum"),
        ({"pet": {"kind": "cat", "kilos": 1}}, "$.pet", "oneOf"),
        ({"unique": [1, 1]}, "$.unique", "uniqueItems"),
        ({"node": {"value": 5, "children": [{"value": 7}]}}, "$.node.children[0].value", "multipleOf"),
        ({"literal": 1}, "$.literal", "enum"),
        ({"more": 1}, "$.more", "additionalProperties"),
    ],
)
def test_what_does_not_fit_a_model_of_pydantic_is_named(change: dict[str, Any], path: str, keyword: str) -> None:
    found = misfit(Everything.model_json_schema(), EVERYTHING.model_dump(mode="json") | change)
    assert found is not None
    assert (found.path, found.keyword) == (path, keyword)


@pytest.mark.parametrize(
    "kind",
    [list[Cat], dict[str, Point], Cat | Dog, tuple[int, Color], Annotated[str, Field(pattern="^a+$")], bool, None],
)
def test_types_that_are_no_models(kind: Any, weights: Weights) -> None:
    grammar = schema_grammar(TypeAdapter(kind).json_schema())
    assert not list(check_grammar(grammar))
    assert not allows(weights, grammar, "no JSON")


# --- schemas that would hold the process ---


def _deep(depth: int) -> Schema:
    schema: Schema = {}
    for _ in range(depth):
        schema = {"properties": {"a": schema}, "not": {"const": 1}}
    return schema


HOSTILE: list[tuple[str, Schema, Any]] = [
    ("a pattern of many ways", text(pattern="^(a+)+$"), "a" * 5000 + "b"),
    ("a pattern that looks ahead everywhere", text(pattern="^(?:(?=.*x)(?=.*y)(?=.*z).)*$"), "xyz" * 3000),
    ("a pattern of many states", text(pattern="^(?:a?){500}a{500}$"), "a" * 900),
    ("many items that are nearly the same", {"type": "array", "uniqueItems": True}, [[i] * 50 for i in range(3000)]),
    (
        "schemas that double",
        {
            "$defs": {str(n): {"anyOf": [{"$ref": f"#/$defs/{n + 1}"}] * 2} for n in range(40)} | {"40": {"const": 1}},
            "$ref": "#/$defs/0",
        },
        2,
    ),
    ("a huge enum", {"type": "array", "items": {"enum": list(range(30_000))}}, [-1.5] * 200),
    ("a schema that is itself", {"not": {"$ref": "#"}}, 1),
    ("a number with a long way to its multiple", {"multipleOf": 1e-300}, 1e300),
]


@pytest.mark.timeout(30)
@pytest.mark.parametrize(("schema", "value"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_a_hostile_schema_ends_within_its_steps(schema: Schema, value: Any) -> None:
    found = misfit(schema, value, 1000)
    assert found is None or found.keyword


def test_a_check_that_takes_too_long_says_so() -> None:
    found = misfit(text(pattern="^(?:(?=.*x)(?=.*y)(?=.*z).)*$"), "xyz" * 3000)
    assert found is not None
    assert (found.path, found.keyword, found.why) == ("$", "pattern", "it would take too long to check")


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    "make",
    [
        lambda: _deep(2000),
        lambda: {"enum": list(range(200_000))},
        lambda: {"allOf": [{"allOf": [{"allOf": [{}] * 40}] * 40}] * 40},
        lambda: {"anyOf": [{"properties": {"a": {"anyOf": [{"const": i}]}}} for i in range(200)] * 2, **NAMES},
        lambda: {"type": "object", "properties": {str(i): text(pattern="^(?:[a-z]{30}){30}$") for i in range(400)}},
        lambda: text(pattern="((((a{100}){100}){100}){100}){100}"),
        lambda: {"$ref": "#"},
        lambda: {"allOf": [{"$ref": "#"}]},
    ],
)
def test_a_schema_without_end_becomes_a_grammar_or_a_named_error(make: Callable[[], Schema]) -> None:
    try:
        grammar = schema_grammar(make())
    except BadGrammar:
        return
    with suppress(BadGrammar):
        check_grammar(grammar)
