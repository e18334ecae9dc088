"""Schemas become grammars that llama.cpp takes; what no grammar can hold is refused by name."""

from typing import Any

import pytest

from local_models.errors import BadGrammar
from local_models.files.catalogue import TINY
from local_models.llama import Sampler, Sampling, Weights
from local_models.prompts.grammar import literal, schema_grammar

SCHEMAS: list[dict[str, Any]] = [
    {},
    {"type": "object"},
    {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["b"]},
    {"type": "object", "properties": {"a": {"type": "null"}, "b": {"type": "boolean"}}},
    {"type": "object", "additionalProperties": {"type": "number"}},
    {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 4},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "number"}]},
    {"type": ["string", "null"]},
    {"type": "string", "minLength": 2, "maxLength": 5},
    {"type": "string", "format": "date-time"},
    {"type": "integer", "minimum": -3, "maximum": 12},
    {"enum": ["a", 'quo"te', 3, None, {"x": [1]}]},
    {"const": "back\\slash\n"},
    {"anyOf": [{"type": "string"}, {"type": "array", "items": {}}]},
    {"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"properties": {"b": {}}}]},
    {
        "$defs": {"tree": {"type": "object", "properties": {"next": {"$ref": "#/$defs/tree"}}}},
        "$ref": "#/$defs/tree",
    },
]


@pytest.fixture(scope="module")
def weights() -> Weights:
    return Weights(str(TINY), gpu_layers=0, mmap=True)


@pytest.mark.parametrize("schema", SCHEMAS, ids=str)
def test_llama_cpp_takes_the_grammar(schema: dict[str, Any], weights: Weights) -> None:
    sampler = Sampler(weights, Sampling(grammar=schema_grammar(schema)))
    sampler.close()


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"type": "string", "pattern": "a+"}, "pattern"),
        ({"type": "number", "multipleOf": 3}, "multipleOf"),
        ({"type": "thing"}, "type"),
        ({"$ref": "https://elsewhere"}, "leaves the schema"),
        ({"$ref": "#/$defs/none"}, "points to nothing"),
        ({"type": "object", "properties": {}, "required": ["x"]}, "required"),
        ({"enum": []}, "enum"),
        ({"type": "number", "minimum": 0.5}, "range"),
        ({"type": "array", "minItems": -1}, "minItems"),
        ({"properties": {"a": {"properties": {"b": 3}}}}, r"schema.properties.a.properties.b"),
    ],
)
def test_what_a_grammar_cannot_hold_is_named(schema: dict[str, Any], named: str) -> None:
    with pytest.raises(BadGrammar, match=named):
        schema_grammar(schema)


def test_a_schema_without_end_is_refused() -> None:
    deep: dict[str, Any] = {"type": "string"}
    for _ in range(100):
        deep = {"type": "array", "items": deep}
    with pytest.raises(BadGrammar, match="deeper"):
        schema_grammar(deep)


def test_literals_are_escaped() -> None:
    assert literal('a"b\\c\n') == '"a\\"b\\\\c\\n"'
