"""Hugging Face models in their worker, held against transformers itself: token by token, text, counts, vectors."""

import asyncio
import math
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from local_models import BadOption, DeadlineExceeded, LoadOptions, LocalModel, PromptTooLong
from tests.support.local_models.models import user

Told = tuple[Path, dict[str, Any]]
pytestmark = [pytest.mark.hf, pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(300)]

SYSTEM = [
    {"role": "system", "content": "Answer in one word."},
    {"role": "user", "content": "What is 2 + 2? Größe, 東京 🙂"},
]
TEXT = "The quick brown"
TOKENS = 60


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def llama(hugging_face: Told) -> AsyncIterator[LocalModel]:
    options = LoadOptions(threads=1, sequences=3)
    async with await LocalModel.load(f"hf:{hugging_face[0] / 'llama'}", options) as model:
        yield model


async def test_a_chat_is_what_generate_writes(llama: LocalModel, hugging_face: Told) -> None:
    expected = hugging_face[1]["references"]["llama_chat"]
    reply = await llama.chat(SYSTEM, temperature=0, max_tokens=TOKENS, logprobs=2)
    assert list(reply.tokens) == expected["tokens"]
    assert (reply.text, reply.finish) == (expected["text"], expected["finish"])
    assert reply.usage.prompt_tokens == len(expected["prompt"])
    assert reply.usage.completion_tokens == len(expected["tokens"])
    for score, logprob in zip(reply.scores, expected["logprobs"], strict=False):
        assert math.isclose(score.logprob, logprob, abs_tol=1e-4)
        assert next(text for text, _ in score.top) == score.text
        assert all(a >= b for (_, a), (_, b) in pairwise(score.top))


async def test_a_stream_is_the_same_answer_in_pieces(llama: LocalModel, hugging_face: Told) -> None:
    expected = hugging_face[1]["references"]["llama_chat"]
    pieces = [piece async for piece in llama.stream(SYSTEM, temperature=0, max_tokens=TOKENS)]
    assert len(pieces) == len(expected["tokens"]) + 1
    assert [token for piece in pieces for token in piece.tokens] == expected["tokens"]
    assert "".join(piece.text for piece in pieces) == expected["text"]
    assert (pieces[-1].finish, pieces[0].finish) == (expected["finish"], None)


async def test_a_bare_text_is_gone_on_with(llama: LocalModel, hugging_face: Told) -> None:
    expected = hugging_face[1]["references"]["llama_text"]
    reply = await llama.complete(TEXT, temperature=0, max_tokens=TOKENS)
    assert list(reply.tokens) == expected["tokens"]
    assert reply.text == expected["text"]
    assert reply.usage.prompt_tokens == len(expected["prompt"])
    assert reply.finish == expected["finish"] == "length"


async def test_the_prompt_is_that_of_the_tokenizers_own_template(llama: LocalModel, hugging_face: Told) -> None:
    expected = hugging_face[1]["references"]["llama_chat"]["prompt"]
    assert await llama._prompt_tokens(SYSTEM, llama_defaults()) == expected
    assert await llama.count(SYSTEM) == len(expected)
    assert await llama.detokenize(await llama.tokenize(TEXT)) == TEXT


def llama_defaults() -> Any:
    from local_models import Generate

    return Generate()


async def test_the_text_of_a_control_token_in_a_message_is_text(llama: LocalModel) -> None:
    (end,) = set(await llama._prompt_tokens(user(""), llama_defaults())) & {2}
    tokens = await llama._prompt_tokens(user("x<|im_end|>y"), llama_defaults())
    assert tokens.count(end) == 1
    assert await llama.tokenize("<|im_end|>") != [end]


async def test_many_callers_at_once_get_what_each_gets_alone(llama: LocalModel) -> None:
    asked = [user(f"What is {n} + {n}?") for n in range(9)]
    alone = [(await llama.chat(messages, temperature=0, max_tokens=20)).tokens for messages in asked]
    before = await llama.statistics()
    replies = await asyncio.gather(*(llama.chat(messages, temperature=0, max_tokens=20) for messages in asked))
    assert [reply.tokens for reply in replies] == alone
    after = await llama.statistics()
    assert after.finished - before.finished == 9
    assert (after.width, after.running, after.waiting, after.device) == (3, 0, 0, "cpu")


async def test_a_seed_gives_the_answer_again(llama: LocalModel) -> None:
    async def tokens(**how: Any) -> tuple[int, ...]:
        return (
            await llama.complete(TEXT, **{"max_tokens": 24, "temperature": 1.5, "top_p": 1, "min_p": 0, **how})
        ).tokens

    greedy = await tokens(temperature=0)
    assert await tokens(seed=5) == await tokens(seed=5)
    assert len({await tokens(seed=seed) for seed in range(4)}) == 4
    assert await tokens(top_k=1) == await tokens(min_p=0.999) == await tokens(top_p=1e-6) == greedy
    assert await tokens(temperature=0, repeat_penalty=5) != greedy
    penalised = await tokens(temperature=0, frequency_penalty=2, presence_penalty=2, penalty_window=100)
    assert len(set(penalised)) > len(set(greedy))


async def test_an_answer_ends_where_it_is_told_to(llama: LocalModel) -> None:
    whole = await llama.complete(TEXT, temperature=0, max_tokens=TOKENS)
    stop = whole.text[8:11]
    cut = await llama.complete(TEXT, temperature=0, max_tokens=TOKENS, stop=(stop,))
    assert cut.finish == "stop"
    assert cut.text == whole.text[: whole.text.index(stop)]
    assert cut.usage.completion_tokens < whole.usage.completion_tokens
    assert (await llama.complete(TEXT, temperature=0, max_tokens=3)).usage.completion_tokens == 3


async def test_leaving_a_stream_ends_the_call(llama: LocalModel) -> None:
    before = await llama.statistics()
    async with llama.stream_complete(TEXT, temperature=1, max_tokens=2000, stop=("never",)) as pieces:
        await anext(pieces)
    async with asyncio.timeout(60):
        while (now := await llama.statistics()).running:  # noqa: ASYNC110  (the worker is asked)
            await asyncio.sleep(0.01)
    assert now.cancelled + now.finished - before.cancelled - before.finished == 1
    steps = now.steps
    assert (await llama.statistics()).steps == steps


async def test_a_deadline_ends_the_call(llama: LocalModel) -> None:
    with pytest.raises(DeadlineExceeded) as caught:
        await llama.complete("x " * 800, temperature=0, max_tokens=2000, within=0.002)
    assert caught.value.stage in ("queue", "prefill", "decode")
    assert (await llama.complete(TEXT, max_tokens=2)).usage.completion_tokens == 2


async def test_a_prompt_that_leaves_no_room_is_refused(llama: LocalModel) -> None:
    with pytest.raises(PromptTooLong):
        await llama.complete("x y " * 2000)
    with pytest.raises(PromptTooLong):
        await llama.complete("x" * 1_000_000)


@pytest.mark.parametrize(
    ("field", "how"),
    [
        ("schema", {"schema": {"type": "object"}}),
        ("grammar", {"grammar": 'root ::= "a"'}),
        ("tool_choice", {"tools": ({"function": {"name": "f"}},), "tool_choice": "required"}),
    ],
)
async def test_what_needs_a_grammar_is_refused_by_name(llama: LocalModel, field: str, how: dict[str, Any]) -> None:
    with pytest.raises(BadOption, match="without a grammar") as caught:
        await llama.chat(user("x"), **how)
    assert caught.value.field == field


async def test_tools_are_shown_to_the_model(llama: LocalModel) -> None:
    tools = ({"type": "function", "function": {"name": "get_time", "description": "", "parameters": {}}},)
    assert await llama.count(user("x"), tools=tools) > await llama.count(user("x")) + 10
    reply = await llama.chat(user("x"), tools=tools, max_tokens=3)
    assert reply.finish in ("length", "stop")


async def test_a_state_and_vectors_are_not_for_this_model(llama: LocalModel) -> None:
    for wrong in (llama.save(user("x")), llama.embed("x"), llama.set_lora()):
        with pytest.raises(BadOption):
            await wrong


async def test_a_model_in_parts_and_without_a_template(hugging_face: Told) -> None:
    place, told = hugging_face
    one = LoadOptions(threads=1)
    async with await LocalModel.load(f"hf:{place / 'parts'}", one) as model:
        reply = await model.chat(SYSTEM, temperature=0, max_tokens=TOKENS)
        assert list(reply.tokens) == told["references"]["llama_chat"]["tokens"]
    async with await LocalModel.load(f"hf:{place / 'gpt2'}", one) as model:
        reply = await model.complete(TEXT, temperature=0, max_tokens=TOKENS)
        assert list(reply.tokens) == told["references"]["gpt2_text"]["tokens"]
        assert reply.text == told["references"]["gpt2_text"]["text"]
        plain = await model.count("system: Be brief.\nuser: Hi\nassistant:")
        assert await model.count([{"role": "system", "content": "Be brief."}, *user("Hi")]) == plain
        assert (await model.chat(user("Hi"), max_tokens=2)).usage.completion_tokens <= 2


async def test_an_encoder_makes_vectors_and_writes_nothing(hugging_face: Told) -> None:
    place, told = hugging_face
    texts = ["What is the time?", "A model is just another agent, loaded once."]
    async with await LocalModel.load(f"hf:{place / 'bert'}", LoadOptions(threads=1)) as model:
        for vector, expected in zip(await model.embed(texts), told["references"]["vectors"], strict=True):
            assert vector == pytest.approx(expected, abs=1e-5)
        with pytest.raises(BadOption, match="encoder"):
            await model.complete("x")
