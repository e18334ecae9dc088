"""Schemas become grammars that llama.cpp takes; what can neither be held nor checked is refused by name."""

from typing import Any

import pytest

from local_models.errors import BadGrammar
from local_models.files.catalogue import TINY
from local_models.llama import Sampler, Sampling, Weights
from local_models.prompts.grammar import schema_grammar
from local_models.prompts.pattern_grammar import literal

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
        ({"type": "string", "pattern": "(a)\\1"}, "pattern"),
        ({"type": "string", "pattern": "(a"}, "pattern"),
        ({"type": "string", "pattern": "a" * 5000}, "pattern"),
        ({"patternProperties": {"(?<=a)b": {}}}, "patternProperties"),
        ({"type": "number", "multipleOf": 0}, "multipleOf"),
        ({"type": "number", "multipleOf": "3"}, "multipleOf"),
        ({"type": "thing"}, "type"),
        ({"$ref": "https://elsewhere"}, "leaves the schema"),
        ({"$ref": "#/$defs/none"}, "points to nothing"),
        ({"$dynamicRef": "#node"}, r"\$dynamicRef"),
        ({"type": "object", "properties": {}, "required": ["x"], "additionalProperties": False}, "properties.x"),
        ({"type": "object", "required": "x"}, "required"),
        ({"enum": []}, "enum"),
        ({"type": "number", "minimum": 5, "maximum": 4}, "nothing fits"),
        ({"type": "integer", "minimum": 1, "maximum": 4, "multipleOf": 7}, "nothing fits"),
        ({"type": "string", "minLength": 3, "maxLength": 2}, "nothing fits"),
        ({"allOf": [{"type": "string"}, {"type": "integer"}]}, "nothing fits"),
        ({"anyOf": [False, {"enum": [1], "type": "string"}]}, "nothing fits"),
        ({"type": "number", "minimum": "5"}, "minimum"),
        ({"anyOf": []}, "anyOf"),
        ({"properties": []}, "properties"),
        ({"type": "array", "minItems": -1}, "minItems"),
        ({"properties": {"a": {"properties": {"b": 3}}}}, r"schema.properties.a.properties.b"),
    ],
)
def test_what_is_no_schema_or_cannot_be_checked_is_named(schema: dict[str, Any], named: str) -> None:
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
