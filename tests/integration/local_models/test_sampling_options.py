"""Options that change which tokens are chosen: biases, barred ends, seeds; alone, among others, in a worker."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from local_models import BadOption, LocalModel
from local_models.options import Generate, LoadOptions
from tests.support.local_models.models import TINY, opened, user

SUM = user("What is 21 + 34?")
TOOL = {"type": "function", "function": {"name": "add", "parameters": {}}}


@pytest.fixture
async def model() -> AsyncIterator[LocalModel]:
    async with opened() as made:
        yield made


async def test_a_bias_forbids_a_token_or_forces_it(model: LocalModel) -> None:
    plain = await model.chat(SUM, temperature=0)
    first = plain.tokens[0]
    without = await model.chat(SUM, temperature=0, logit_bias={str(first): -100})
    assert first not in without.tokens
    forced = await model.chat(SUM, temperature=0, logit_bias={str(first): 100}, max_tokens=7)
    assert forced.tokens == (first,) * 7
    assert (await model.chat(SUM, temperature=0)).tokens == plain.tokens, "a bias is of one call"


async def test_a_bias_holds_with_chance_penalties_scores_and_a_grammar(model: LocalModel) -> None:
    (seven,) = await model.tokenize("7")
    how: dict[str, Any] = {"logit_bias": {str(seven): 100}, "max_tokens": 5, "seed": 1}
    for more in ({}, {"repeat_penalty": 1.1}, {"top_k": 0, "min_p": 0.0, "temperature": 3.0}):
        assert (await model.chat(SUM, **{**how, **more})).text == "77777"
    reply = await model.chat(SUM, **how, logprobs=2)
    assert all(score.logprob < -0.1 for score in reply.scores[:1]), "scores are the model's own"
    assert (await model.chat(SUM, **how, grammar='root ::= "1" [0-9]{3} "x"')).text == "1777x"


async def test_ends_that_are_barred(model: LocalModel) -> None:
    plain = await model.chat(SUM, temperature=0)
    length = len(plain.tokens)
    assert plain.finish == "stop"
    endless = await model.chat(SUM, temperature=0, ignore_eos=True, max_tokens=length + 40)
    assert (endless.finish, endless.usage.completion_tokens) == ("length", length + 40)
    assert endless.tokens[:length] == plain.tokens
    same = await model.chat(SUM, temperature=0, min_tokens=length)
    assert (same.tokens, same.finish) == (plain.tokens, "stop"), "the end is free again behind them"
    longer = await model.chat(SUM, temperature=0, min_tokens=length + 5)
    assert len(longer.tokens) >= length + 5
    stopped = await model.chat(SUM, temperature=0, ignore_eos=True, stop=("5",))
    assert (stopped.finish, stopped.text) == ("stop", "")


async def test_among_many_others_each_has_its_own(model: LocalModel) -> None:
    plain = (await model.chat(SUM, temperature=0)).tokens
    options: list[dict[str, Any]] = [{}, {"min_tokens": len(plain) + 9}, {"ignore_eos": True, "max_tokens": 60}] * 8
    replies = await asyncio.gather(*(model.chat(SUM, temperature=0, **each) for each in options))
    for each, reply in zip(options, replies, strict=True):
        assert reply.tokens[: len(plain)] == plain
        if each.get("ignore_eos"):
            assert len(reply.tokens) == 60
        elif each:
            assert len(reply.tokens) >= len(plain) + 9
        else:
            assert len(reply.tokens) == len(plain)


async def test_a_seed_gives_the_same_answer_and_another_seed_another(model: LocalModel) -> None:
    how: dict[str, Any] = {"temperature": 1.5, "max_tokens": 24, "ignore_eos": True}
    first, again, other = [(await model.chat(SUM, seed=seed, **how)).tokens for seed in (5, 5, 6)]
    assert first == again != other


async def test_in_a_worker_too() -> None:
    async with await LocalModel.load(TINY, LoadOptions(isolated=True)) as model:
        (seven,) = await model.tokenize("7")
        reply = await model.chat(SUM, logit_bias={str(seven): 100}, ignore_eos=True, max_tokens=4)
        assert reply.text == "7777"
        with pytest.raises(BadOption) as caught:
            await model.chat(SUM, logit_bias={"999999": 1})
        assert caught.value.field == "logit_bias"


async def test_a_token_that_there_is_not_is_named(model: LocalModel) -> None:
    with pytest.raises(BadOption, match="between 0 and") as caught:
        await model.chat(SUM, logit_bias={"999999": 1})
    assert caught.value.field == "logit_bias"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"logit_bias": {"5": 101}}, "logit_bias"),
        ({"logit_bias": {"5": float("nan")}}, "logit_bias"),
        ({"logit_bias": {"-5": 1}}, "logit_bias"),
        ({"logit_bias": {"five": 1}}, "logit_bias"),
        ({"logit_bias": {str(n): 1 for n in range(1025)}}, "logit_bias"),
        ({"min_tokens": -1}, "min_tokens"),
        ({"min_tokens": 11, "max_tokens": 10}, "min_tokens"),
        ({"min_tokens": 5, "schema": {}}, "min_tokens"),
        ({"ignore_eos": True, "grammar": 'root ::= "a"'}, "ignore_eos"),
        ({"ignore_eos": True, "tools": (TOOL,)}, "ignore_eos"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**32}, "seed"),
    ],
)
def test_an_option_out_of_bounds_is_named(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(BadOption) as caught:
        Generate(**fields)
    assert caught.value.field == field
