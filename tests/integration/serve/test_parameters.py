"""Parameters at the endpoint: those that change nothing, those that a local model takes, and several answers."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from tests.support.serve.endpoint import Endpoint, endpoint, free_port
from three_mode import Agent, LLMConnection, LLMRequest, Orchestrator, handler
from three_mode.errors import InvalidRequest, SchemaMismatch
from three_mode.serve import App, Connected, ServeOptions, serve
from three_mode.testing import ScriptedProvider, Turn

pytestmark = pytest.mark.asyncio(loop_scope="module")
USER = [{"role": "user", "content": "Repeat: apple"}]
WITHOUT_EFFECT: dict[str, Any] = {
    "user": "ann",
    "store": True,
    "metadata": {"a": "b"},
    "safety_identifier": "s",
    "prompt_cache_key": "k",
    "service_tier": "flex",
    "verbosity": "low",
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "apple"},
}
NEVER = {"type": "integer", "minimum": 0, "maximum": 99, "not": {"type": "number"}}


class Clerk(Agent):
    """An agent of ordinary code that is a model."""

    @handler
    async def chat_completion(self, request: LLMRequest) -> str:
        return str(request.extra.get("user"))


@dataclass
class Running:
    """The endpoint, and what stands behind it."""

    url: str
    provider: ScriptedProvider
    llm: LLMConnection


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running() -> AsyncIterator[Running]:
    port = free_port()
    async with ScriptedProvider("http/1.1") as provider, Orchestrator(hosts=1) as orc:
        provider.always(Turn(text=("app", "le")))
        await orc.spawn(Clerk, name="clerk")
        await orc.model("tiny", name="brain")
        async with LLMConnection(base_url=provider.url + "/v1", bus=orc.bus) as llm:
            async with serve(App(Connected(llm, orc.bus), ServeOptions(port=port))):
                yield Running(f"http://127.0.0.1:{port}", provider, llm)


async def post(url: str, path: str, body: dict[str, Any]) -> httpx.Response:
    async with httpx.AsyncClient(timeout=60) as client:
        return await client.post(url + path, json=body)


async def chat(running: Running, model: str = "tiny", **fields: Any) -> httpx.Response:
    return await post(running.url, "/v1/chat/completions", {"model": model, "messages": USER, **fields})


def events(reply: httpx.Response) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in reply.text.split("\n") if line.startswith("data: ")]
    return [json.loads(line) for line in lines if line != "[DONE]"]


# --- without effect ---


@pytest.mark.parametrize("model", ["tiny", "agent:clerk", "agent:brain"])
async def test_models_of_this_computer_and_agents_ignore_what_changes_nothing_and_say_so(
    running: Running, model: str
) -> None:
    whole = await chat(running, model, temperature=0, **WITHOUT_EFFECT)
    assert whole.status_code == 200, whole.text
    assert whole.json()["choices"][0]["message"]["content"] == ("ann" if model == "agent:clerk" else "apple")
    assert set(whole.json()["three_mode"]["ignored"]) == set(WITHOUT_EFFECT)
    streamed = events(await chat(running, model, temperature=0, stream=True, **WITHOUT_EFFECT))
    assert set(streamed[-1]["three_mode"]["ignored"]) == set(WITHOUT_EFFECT)
    plain = await chat(running, model, temperature=0)
    assert "ignored" not in plain.json()["three_mode"]


async def test_a_provider_gets_what_it_knows(running: Running) -> None:
    reply = await chat(running, "gpt-5", **WITHOUT_EFFECT)
    sent = running.provider.seen[-1].json
    known = set(WITHOUT_EFFECT) - {"metadata", "prompt_cache_key"}
    assert {name: sent.get(name) for name in known} == {name: WITHOUT_EFFECT[name] for name in known}
    assert set(reply.json()["three_mode"]["ignored"]) == {"metadata", "prompt_cache_key"}


async def test_responses_and_messages_say_it_too(running: Running) -> None:
    asked = {"model": "tiny", "input": "Repeat: apple", "user": "ann", "text": {"verbosity": "low"}}
    reply = (await post(running.url, "/v1/responses", asked)).json()
    assert reply["three_mode"]["ignored"] == ["user", "text.verbosity"]
    reply = (await post(running.url, "/v1/responses", asked | {"model": "gpt-5"})).json()
    assert reply["three_mode"]["ignored"] == []
    sent = running.provider.seen[-1].json
    assert (sent["user"], sent["verbosity"]) == ("ann", "low")
    body = {"model": "tiny", "messages": USER, "max_tokens": 9, "metadata": {"user_id": "u"}, "service_tier": "flex"}
    reply = (await post(running.url, "/v1/messages", body)).json()
    assert set(reply["three_mode"]["ignored"]) == {"metadata", "service_tier"}
    streamed = events(await post(running.url, "/v1/messages", body | {"stream": True}))
    last = next(event for event in streamed if event["type"] == "message_delta")
    assert set(last["three_mode"]["ignored"]) == {"metadata", "service_tier"}


async def test_what_would_change_the_answer_and_cannot_be_done_is_named(running: Running) -> None:
    for name, value in (("audio", {"voice": "x"}), ("web_search_options", {}), ("no_such_field", 1)):
        refused = await chat(running, **{name: value})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, name)


# --- what a local model takes ---


@pytest.mark.parametrize("model", ["tiny", "agent:brain"])
async def test_biases_and_ends_of_a_local_model(running: Running, model: str) -> None:
    barred = (await chat(running, model, temperature=0, ignore_eos=True, max_tokens=30)).json()
    assert (barred["choices"][0]["finish_reason"], barred["usage"]["completion_tokens"]) == ("length", 30)
    longer = (await chat(running, model, temperature=0, min_tokens=20)).json()
    assert longer["usage"]["completion_tokens"] >= 20
    forced = (await chat(running, model, temperature=0, logit_bias={"300": 100}, max_tokens=4, logprobs=True)).json()
    tokens = [one["token"] for one in forced["choices"][0]["logprobs"]["content"]]
    assert len(tokens) == 4
    assert len(set(tokens)) == 1


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"logit_bias": {"5": 101}}, "logit_bias"),
        ({"logit_bias": {"word": 1}}, "logit_bias"),
        ({"logit_bias": {"99999999": 1}}, "logit_bias"),
        ({"min_tokens": 100, "max_tokens": 10}, "min_tokens"),
        ({"ignore_eos": True, "response_format": {"type": "json_object"}}, "ignore_eos"),
        ({"seed": -5}, "seed"),
        ({"n": 9}, "n"),
    ],
)
async def test_an_option_out_of_bounds_is_a_400_that_names_it(
    running: Running, fields: dict[str, Any], param: str
) -> None:
    for stream in (False, True):
        refused = await chat(running, stream=stream, **fields)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, param), refused.text


async def test_a_program_says_them_in_extra(running: Running) -> None:
    request = LLMRequest(
        model="tiny", messages=USER, max_tokens=25, temperature=0, extra={"ignore_eos": True, "user": "ann"}
    )
    assert (await running.llm.chat_completion(request)).usage.output_tokens == 25
    with pytest.raises(InvalidRequest) as caught:
        await running.llm.chat_completion(LLMRequest(model="tiny", messages=USER, extra={"logit_bias": {"a": 1}}))
    assert caught.value.field == "logit_bias"


def schema(shape: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "n", "schema": shape}}


async def test_an_answer_that_does_not_fit_its_schema_is_a_named_error(running: Running) -> None:
    shape = {"type": "object", "properties": {"n": NEVER}, "required": ["n"]}
    refused = await chat(running, temperature=0, response_format=schema(shape))
    assert (refused.status_code, refused.json()["error"]["code"]) == (502, "schema_mismatch")
    assert "`not` at $.n" in refused.json()["error"]["message"]
    broken = events(await chat(running, temperature=0, response_format=schema(shape), stream=True))
    assert "`not` at $.n" in broken[-1]["error"]["message"]
    with pytest.raises(SchemaMismatch) as caught:
        await running.llm.chat_completion(
            LLMRequest(model="tiny", messages=USER, temperature=0, response_format={"json_schema": shape})
        )
    assert (caught.value.path, caught.value.keyword, caught.value.retryable) == ("$.n", "not", False)


async def test_schemas_of_agents_and_of_the_models_of_this_computer(running: Running) -> None:
    for model in ("tiny", "agent:brain"):
        whole = await chat(running, model, response_format=schema({"type": "integer", "multipleOf": 5, "maximum": 900}))
        assert int(whole.json()["choices"][0]["message"]["content"]) % 5 == 0
        refused = await chat(running, model, response_format=schema({"type": "string", "pattern": "(a)\\1"}))
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, "schema")


# --- several answers ---


@pytest.mark.parametrize("model", ["gpt-5", "tiny", "agent:clerk", "agent:brain"])
async def test_n_answers_whole_and_streamed(running: Running, model: str) -> None:
    one = (await chat(running, model, temperature=0)).json()
    said = one["choices"][0]["message"]["content"]
    many = (await chat(running, model, temperature=0, n=3)).json()
    assert [choice["index"] for choice in many["choices"]] == [0, 1, 2]
    assert [choice["message"]["content"] for choice in many["choices"]] == [said] * 3
    assert many["usage"]["completion_tokens"] == 3 * one["usage"]["completion_tokens"]
    assert many["usage"]["total_tokens"] == 3 * one["usage"]["total_tokens"]
    reply = await chat(running, model, temperature=0, n=3, stream=True, stream_options={"include_usage": True})
    assert reply.text.endswith("data: [DONE]\n\n")
    texts, ends = ["", "", ""], []
    for event in events(reply):
        for choice in event["choices"]:
            texts[choice["index"]] += choice["delta"].get("content") or ""
            ends += [choice["index"]] if choice["finish_reason"] else []
    assert texts == [said] * 3
    assert sorted(ends) == [0, 1, 2]
    last = events(reply)[-1]
    assert (last["choices"], last["usage"]["total_tokens"]) == ([], many["usage"]["total_tokens"])


async def test_n_answers_with_a_seed_differ_and_come_again(running: Running) -> None:
    async def texts() -> list[str]:
        reply = await chat(running, n=4, seed=7, temperature=1.8, max_tokens=24, ignore_eos=True)
        return [choice["message"]["content"] for choice in reply.json()["choices"]]

    first = await texts()
    assert len(set(first)) == 4
    assert await texts() == first


@pytest_asyncio.fixture(loop_scope="module")
async def scripted() -> AsyncIterator[Endpoint]:
    async with endpoint() as found:
        yield found


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(3000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it did not come to that")


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_ends_all_answers(scripted: Endpoint, stream: bool) -> None:
    body = {"model": "forever", "messages": USER, "n": 5, "stream": stream}
    asking = asyncio.create_task(post(scripted.url, "/v1/chat/completions", body))
    await until(lambda: scripted.backend.running == 5)
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await until(lambda: not scripted.backend.running and not scripted.app.metrics.in_flight)


async def test_one_that_fails_ends_the_others(scripted: Endpoint) -> None:
    body = {"model": "unreachable", "messages": USER, "n": 3}
    refused = await post(scripted.url, "/v1/chat/completions", body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (502, "connection_failed")
    streamed = await post(scripted.url, "/v1/chat/completions", body | {"stream": True})
    assert streamed.status_code == 502, "before any content the error has its status"
    broken = await post(scripted.url, "/v1/chat/completions", body | {"model": "broken", "stream": True})
    assert events(broken)[-1]["error"]["code"] == "stream_interrupted"
    assert "[DONE]" not in broken.text
    unforeseen = await post(scripted.url, "/v1/chat/completions", body | {"model": "unforeseen"})
    assert unforeseen.status_code == 500
    assert "sk-secret" not in unforeseen.text
