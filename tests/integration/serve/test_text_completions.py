"""The official openai SDK's `completions.create` against `/v1/completions`: a local model, a provider's, and an agent.

A prompt is continued as it stands: without a chat template, and token for token where it is tokens.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import openai
import pytest
import pytest_asyncio

from local_models import LocalModel
from tests.support.serve.endpoint import free_port
from three_mode import Agent, LLMConnection, LLMRequest, LLMResponse, Orchestrator, handler
from three_mode.errors import UnsupportedParameter
from three_mode.messages import Text
from three_mode.serve import App, Connected, ServeOptions, serve
from three_mode.testing import Answer, ScriptedProvider, Turn

pytestmark = pytest.mark.asyncio(loop_scope="module")
PROMPT = "What is 21 + 34? It is"
GREEDY: Any = {"model": "brain", "temperature": 0, "max_tokens": 6}


class Clerk(Agent):
    """An agent that knows messages alone, and repeats the last one."""

    @handler(concurrent=8)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse(parts=(Text(request.messages[-1].text),), model="clerk")


@dataclass
class Running:
    """The endpoint, what stands behind it, and the same model without it."""

    url: str
    provider: ScriptedProvider
    model: LocalModel
    client: openai.AsyncOpenAI


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Running]:
    port = free_port()
    async with ScriptedProvider("http/1.1") as provider, Orchestrator(hosts=1) as orc:
        await orc.spawn(Clerk, name="clerk")
        await orc.model("tiny", name="brain")
        async with LLMConnection(base_url=provider.url + "/v1", bus=orc.bus) as llm:
            async with serve(App(Connected(llm, orc.bus, {"small": "tiny"}), ServeOptions(port=port))):
                url = f"http://127.0.0.1:{port}/v1"
                async with (
                    await LocalModel.load("tiny") as model,
                    openai.AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client,
                ):
                    yield Running(url, provider, model, client)


def counted(usage: Any) -> tuple[int, int, int]:
    return usage.prompt_tokens, usage.completion_tokens, usage.total_tokens


async def test_a_local_model_continues_a_prompt_as_it_stands(running: Running) -> None:
    expected = await running.model.complete(PROMPT, temperature=0, max_tokens=6)
    templated = await running.model.chat([{"role": "user", "content": PROMPT}], temperature=0, max_tokens=6)
    assert expected.usage.prompt_tokens < templated.usage.prompt_tokens, "the template adds tokens"
    for model in ("brain", "small"):  # on the bus, and in the endpoint's own process
        reply = await running.client.completions.create(**{**GREEDY, "model": model}, prompt=PROMPT)
        (choice,) = reply.choices
        assert (reply.object, reply.id[:5]) == ("text_completion", "cmpl-")
        assert (choice.text, choice.index) == (expected.text, 0)
        assert choice.finish_reason in ("stop", "length")
        assert reply.usage is not None
        assert reply.usage.prompt_tokens == expected.usage.prompt_tokens
        chunks = [
            chunk
            async for chunk in await running.client.completions.create(
                **{**GREEDY, "model": model}, prompt=PROMPT, stream=True, stream_options={"include_usage": True}
            )
        ]
        assert "".join(choice.text for chunk in chunks for choice in chunk.choices) == expected.text
        assert chunks[-2].choices[0].finish_reason == choice.finish_reason
        assert counted(chunks[-1].usage) == counted(reply.usage)


async def test_tokens_are_the_prompt_token_for_token(running: Running) -> None:
    tokens = await running.model.tokenize(PROMPT)
    expected = await running.model.complete(tokens, temperature=0, max_tokens=6)
    assert expected.usage.prompt_tokens == len(tokens)
    reply = await running.client.completions.create(**GREEDY, prompt=tokens)
    assert reply.choices[0].text == expected.text
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == len(tokens)
    two = await running.client.completions.create(**GREEDY, prompt=[tokens, tokens[:4]])
    assert [choice.index for choice in two.choices] == [0, 1]
    assert two.choices[0].text == expected.text
    for beyond in (running.model.summary.vocabulary, 2**31 - 1):
        with pytest.raises(openai.BadRequestError, match="token is between"):
            await running.client.completions.create(**GREEDY, prompt=[1, beyond])
    assert (await running.client.completions.create(**GREEDY, prompt=tokens)).choices[0].text == expected.text


async def test_several_prompts_and_choices_are_numbered_and_a_prompt_counts_once(running: Running) -> None:
    prompts = ["The first", "And the second one"]
    alone = [await running.client.completions.create(**GREEDY, prompt=prompt) for prompt in prompts]
    reply = await running.client.completions.create(**GREEDY, prompt=prompts, n=2, seed=7)
    assert [choice.index for choice in reply.choices] == [0, 1, 2, 3]
    texts = [one.choices[0].text for one in alone]
    assert [choice.text for choice in reply.choices] == [texts[0], texts[0], texts[1], texts[1]]
    used = [one.usage for one in alone]
    assert reply.usage is not None
    assert reply.usage.prompt_tokens == sum(one.prompt_tokens for one in used if one is not None)
    streamed = ["", "", "", ""]
    finished = []
    stream = await running.client.completions.create(
        **GREEDY, prompt=prompts, n=2, echo=True, stream=True, stream_options={"include_usage": True}
    )
    async for chunk in stream:
        for choice in chunk.choices:
            streamed[choice.index] += choice.text
            finished += [choice.index] if choice.finish_reason else []
    assert streamed == [
        before + text
        for before, text in zip((*prompts[:1] * 2, *prompts[1:] * 2), (texts[0],) * 2 + (texts[1],) * 2, strict=True)
    ]
    assert sorted(finished) == [0, 1, 2, 3]
    assert counted(chunk.usage) == counted(reply.usage)


async def test_fields_that_change_no_answer_are_named_as_ignored(running: Running) -> None:
    plain = await running.client.completions.create(**GREEDY, prompt=PROMPT)
    reply = await running.client.completions.create(**GREEDY, prompt=PROMPT, user="alice", extra_body={"store": True})
    assert reply.choices[0].text == plain.choices[0].text
    assert reply.model_extra is not None
    assert sorted(reply.model_extra["three_mode"]["ignored"]) == ["store", "user"]
    for prompts in ([PROMPT], [PROMPT, "b"]):
        stream = await running.client.completions.create(**GREEDY, prompt=prompts, user="alice", stream=True)
        last = [chunk async for chunk in stream if chunk.choices and chunk.choices[0].finish_reason]
        assert [(chunk.model_extra or {})["three_mode"] for chunk in last] == [{"ignored": ["user"]}] * len(prompts)
    two = await running.client.completions.create(**GREEDY, prompt=[PROMPT, "b"], user="alice")
    assert two.model_extra is not None
    assert two.model_extra["three_mode"] == {"ignored": ["user"]}


async def test_echo_and_scores(running: Running) -> None:
    plain = await running.client.completions.create(**GREEDY, prompt=PROMPT)
    echoed = await running.client.completions.create(**GREEDY, prompt=PROMPT, echo=True)
    assert echoed.choices[0].text == PROMPT + plain.choices[0].text
    scored = await running.client.completions.create(**GREEDY, prompt=PROMPT, logprobs=2)
    scores = scored.choices[0].logprobs
    assert scores is not None
    assert "".join(scores.tokens or ()) == scored.choices[0].text
    assert scores.token_logprobs is not None
    assert all(score is not None and score <= 0 for score in scores.token_logprobs)
    assert scores.top_logprobs is not None
    assert [len(top or {}) for top in scores.top_logprobs] == [2] * len(scores.tokens or ())
    assert scores.text_offset is not None
    assert scores.text_offset[0] == 0


async def test_by_default_an_answer_has_sixteen_tokens(running: Running) -> None:
    reply = await running.client.completions.create(
        model="brain", prompt="a b c", temperature=0, extra_body={"grammar": 'root ::= "x" root'}
    )
    assert reply.usage is not None
    assert reply.usage.completion_tokens == 16
    assert reply.choices[0].finish_reason == "length"


async def test_a_provider_of_openais_format_gets_the_prompt_itself(running: Running) -> None:
    running.provider.always(Turn(text=("once", " more")))
    reply = await running.client.completions.create(model="davinci", prompt=PROMPT, suffix="!", seed=3)
    assert reply.choices[0].text == "once more"
    seen = running.provider.seen[-1]
    assert seen.path == "/v1/completions"
    assert seen.json == {"model": "davinci", "prompt": PROMPT, "max_tokens": 16, "seed": 3, "suffix": "!"}
    stream = await running.client.completions.create(model="davinci", prompt=[5, 6], stream=True)
    assert "".join([chunk.choices[0].text async for chunk in stream if chunk.choices]) == "once more"
    assert running.provider.seen[-1].json["prompt"] == [5, 6]


async def test_an_agent_that_knows_messages_gets_one(running: Running) -> None:
    reply = await running.client.completions.create(model="agent:clerk", prompt=PROMPT)
    assert reply.choices[0].text == PROMPT


async def test_guidellms_shape_is_answered(running: Running) -> None:
    body = {
        "model": "brain",
        "prompt": "Say it",
        "max_tokens": 4,
        "max_completion_tokens": None,
        "stop": None,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{running.url}/completions", json=body)
    lines = [line for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    assert json.loads(lines[-2].removeprefix("data: "))["usage"]["completion_tokens"] >= 1


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"suffix": "end"}, "suffix"),
        ({"best_of": 3}, "best_of"),
        ({"best_of": 0}, "best_of"),
        ({"n": 9}, "n"),
        ({"n": 0}, "n"),
        ({"logprobs": 3, "echo": True}, "logprobs"),
        ({"logprobs": True}, "logprobs"),
        ({"logprobs": 51}, "logprobs"),
        ({"prompt": [1, 2], "echo": True}, "echo"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": {"a": 1}}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": [1, -1]}, "prompt"),
        ({"prompt": ["a"] * 129}, "prompt"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"stop": [""]}, "stop"),
        ({"stream": "yes"}, "stream"),
        ({"stream_options": 1}, "stream_options"),
        ({"model": None}, "model"),
        ({"three_mode.conversation": "alice/1"}, "three_mode.conversation"),
        ({"no_such_field": 1}, "no_such_field"),
    ],
    ids=str,
)
async def test_what_cannot_be_done_is_named(running: Running, fields: dict[str, Any], param: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{running.url}/completions", json={"model": "brain", "prompt": "a", **fields})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param, answer.text


async def test_when_one_of_several_fails_or_their_client_leaves_all_end(running: Running) -> None:
    running.provider.next(Answer(status=400))
    with pytest.raises(openai.BadRequestError):
        await running.client.completions.create(model="davinci", prompt=["a", "b"], stream=True)
    endless: Any = {"model": "brain", "max_tokens": 400, "extra_body": {"grammar": 'root ::= "x" root'}}
    stream = await running.client.completions.create(**endless, prompt=["a", "b", "c"], stream=True)
    async for _ in stream:
        break
    await stream.close()
    for _ in range(100):
        async with httpx.AsyncClient() as client:
            said = (await client.get(running.url.removesuffix("/v1") + "/metrics")).text
        if "three_mode_requests_in_flight 1" in said or "in_flight 1" in said:
            break
        await asyncio.sleep(0.05)
    assert "in_flight 1" in said, "that of the metrics alone"


async def test_who_takes_no_prompt_says_so_by_name() -> None:
    async with ScriptedProvider("http/1.1") as server:
        async with LLMConnection("anthropic", "key", server.url) as llm:
            with pytest.raises(UnsupportedParameter) as caught:
                await llm.chat_completion(LLMRequest(prompt="a", model="claude"))
            assert caught.value.field == "prompt"
            with pytest.raises(Exception, match="a run needs messages"):
                await llm.run(LLMRequest(prompt="a", model="claude"))
        assert not server.seen
