"""Answers of the small model in the shape of schemas: one that does not fit is an error that says why."""

import json
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from local_models import LocalModel, Piece, UnfitAnswer
from local_models.prompts.schema_check import misfit_of_text

SAY = [{"role": "user", "content": "What is 21 + 34?"}]
HELD: list[dict[str, Any]] = [
    {"type": "integer", "minimum": -20, "maximum": 4321},
    {"type": "integer", "multipleOf": 25, "minimum": 0, "maximum": 20_000},
    {"type": "number", "minimum": 0.5, "maximum": 2.25},
    {"type": "string", "pattern": "^[A-Z]{2,4}-\\d{1,3}$"},
    {"type": "string", "format": "uuid"},
    {"type": "string", "format": "time"},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}], "minItems": 2, "maxItems": 2},
    {
        "type": "object",
        "patternProperties": {"^[ab]{1,3}$": {"type": "boolean"}},
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    },
    {
        "allOf": [
            {"properties": {"a": {"type": "boolean"}}, "required": ["a"]},
            {"properties": {"b": {"enum": [1, 2]}}, "required": ["b"]},
        ]
    },
    {"type": "integer", "anyOf": [{"minimum": 100, "maximum": 120}, {"minimum": -5, "maximum": 0}]},
]
NEVER = {"type": "integer", "minimum": 0, "maximum": 99, "not": {"type": "number"}}


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=0, le=9)]


class Dog(BaseModel):
    kind: Literal["dog"]
    loud: bool


class Order(BaseModel):
    key: Annotated[str, Field(pattern="^[A-Z]{3}$")]
    amount: Annotated[int, Field(ge=1, le=500, multiple_of=5)]
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    flags: tuple[bool, Literal["on", "off"]]


@pytest.fixture
async def model() -> Any:
    async with await LocalModel.load("tiny") as loaded:
        yield loaded


@pytest.mark.parametrize("schema", HELD, ids=lambda schema: json.dumps(schema)[:60])
async def test_what_a_grammar_holds_fits_whatever_the_chance(model: LocalModel, schema: dict[str, Any]) -> None:
    for seed in range(8):
        reply = await model.chat(SAY, schema=schema, temperature=1.5, seed=seed, max_tokens=200)
        assert reply.finish == "stop"
        assert misfit_of_text(schema, reply.text) is None, reply.text


async def test_a_model_of_pydantic(model: LocalModel) -> None:
    for seed in range(6):
        reply = await model.chat(SAY, schema=Order.model_json_schema(), temperature=1.5, seed=seed, max_tokens=300)
        assert Order.model_validate_json(reply.text).amount % 5 == 0


async def test_an_answer_that_does_not_fit_says_which_keyword_where(model: LocalModel) -> None:
    schema = {"type": "object", "properties": {"n": NEVER}, "required": ["n"]}
    with pytest.raises(UnfitAnswer) as caught:
        await model.chat(SAY, schema=schema, temperature=0)
    assert (caught.value.path, caught.value.keyword, caught.value.may_differ) == ("$.n", "not", False)
    assert "`not` at $.n" in str(caught.value)
    with pytest.raises(UnfitAnswer) as caught:
        await model.chat(SAY, schema=schema)
    assert caught.value.may_differ, "another try has another chance"


async def test_a_stream_gives_its_text_before_it_says_that_it_does_not_fit(model: LocalModel) -> None:
    pieces: list[Piece] = []

    async def read() -> None:
        async with model.stream(SAY, schema=NEVER, temperature=0) as stream:
            while batch := await stream.batch():
                pieces.extend(batch)

    with pytest.raises(UnfitAnswer):
        await read()
    assert all(piece.finish is None for piece in pieces)
    assert "".join(piece.text for piece in pieces).isdigit()
    assert (await model.chat(SAY, max_tokens=2)).text, "the model goes on"


async def test_an_answer_that_was_cut_off_is_not_judged(model: LocalModel) -> None:
    schema = {"type": "array", "items": NEVER, "minItems": 5}
    reply = await model.chat(SAY, schema=schema, max_tokens=3, temperature=0)
    assert reply.finish == "length"


def tool(strict: bool) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"n": NEVER}, "required": ["n"]}
    return {"type": "function", "function": {"name": "count", "parameters": parameters, "strict": strict}}


async def test_arguments_of_a_forced_call_are_checked(model: LocalModel) -> None:
    with pytest.raises(UnfitAnswer, match="arguments of 'count'") as caught:
        await model.chat(SAY, tools=(tool(strict=False),), tool_choice="count", temperature=0)
    assert (caught.value.path, caught.value.keyword) == ("$.n", "not")


@pytest.mark.parametrize("strict", [True, False])
async def test_arguments_of_a_free_call_are_checked_where_the_tool_is_strict(model: LocalModel, strict: bool) -> None:
    offered = tool(strict)
    offered["function"]["name"] = "add"
    say = [{"role": "system", "content": "Use tools."}, {"role": "user", "content": "What is 21 + 34?"}]
    for seed in range(200):  # until it calls of its own accord
        try:
            reply = await model.chat(say, tools=(offered,), temperature=2, top_k=0, min_p=0, top_p=1, seed=seed)
        except UnfitAnswer:
            assert strict
            return
        if reply.tool_calls:
            assert not strict
            return
    pytest.fail("the model made no call")


async def test_whether_a_tool_is_strict_is_not_in_the_prompt(model: LocalModel) -> None:
    counts = [await model.count(SAY, tools=(tool(strict),)) for strict in (True, False)]
    plain = tool(strict=False)
    del plain["function"]["strict"]
    assert counts == [await model.count(SAY, tools=(plain,))] * 2
