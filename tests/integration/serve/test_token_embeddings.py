"""The official openai SDK's `embeddings.create` with tokens in place of texts, and with `dimensions`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest

from local_models import LocalModel
from tests.support.serve.endpoint import free_port
from three_mode import Agent, LLMConnection, Orchestrator, errors, handler
from three_mode.messages import Embedded, EmbedRequest
from three_mode.serve import App, Connected, ServeOptions, serve
from three_mode.testing import ScriptedProvider


@asynccontextmanager
async def served() -> AsyncIterator[tuple[openai.AsyncOpenAI, ScriptedProvider]]:
    port = free_port()
    async with ScriptedProvider("http/1.1") as provider, LLMConnection(base_url=provider.url + "/v1") as llm:
        async with (
            serve(App(Connected(llm, models={"small": "tiny"}), ServeOptions(port=port))),
            openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0) as client,
        ):
            yield client, provider


async def test_a_local_model_embeds_tokens_exactly_and_has_its_own_size() -> None:
    async with served() as (client, _), await LocalModel.load("tiny") as model:
        tokens, others = await model.tokenize("red apple"), await model.tokenize("blue sky")
        expected = await model.embed([tokens, others])
        one = await client.embeddings.create(model="small", input=tokens)
        assert one.data[0].embedding == pytest.approx(expected[0], abs=1e-5)
        assert one.usage.prompt_tokens == len(tokens)
        two = await client.embeddings.create(model="small", input=[tokens, others], encoding_format="float")
        assert [each.index for each in two.data] == [0, 1]
        assert two.data[1].embedding == pytest.approx(expected[1], abs=1e-5)
        assert two.usage.prompt_tokens == len(tokens) + len(others)
        width = len(expected[0])
        same = await client.embeddings.create(model="small", input="red apple", dimensions=width)
        assert len(same.data[0].embedding) == width
        for wrong, param, said in (
            ({"dimensions": width - 1}, "dimensions", f"{width} dimensions"),
            ({"dimensions": 0}, "dimensions", "dimensions"),
            ({"input": [model.summary.vocabulary]}, None, "a token is between"),
            ({"input": [1, -1]}, "input", "input is"),
            ({"input": [[1], []]}, "input", "input is"),
            ({"input": [[1], "a"]}, "input", "input is"),
            ({"input": []}, "input", "input is"),
        ):
            asked: dict[str, Any] = {"model": "small", "input": "red apple", **wrong}
            with pytest.raises(openai.BadRequestError, match=said) as caught:
                await client.embeddings.create(**asked)
            assert param in (None, caught.value.param)


async def test_a_provider_of_openais_format_gets_tokens_and_dimensions_as_they_are() -> None:
    async with served() as (client, provider):
        got = await client.embeddings.create(model="vectors", input=[[5, 6], [7]], dimensions=3)
        assert [len(each.embedding) for each in got.data] == [3, 3]
        sent = provider.seen[-1].json
        assert (sent["input"], sent["dimensions"]) == ([[5, 6], [7]], 3)
        await client.embeddings.create(model="vectors", input=[5, 6])
        assert provider.seen[-1].json["input"] == [[5, 6]]


async def test_who_takes_no_tokens_says_so_by_name() -> None:
    async with ScriptedProvider("http/1.1") as server:
        for provider in ("gemini", "ollama"):
            async with LLMConnection(provider, "key", server.url) as llm:
                with pytest.raises(errors.UnsupportedParameter) as caught:
                    await llm.embed("m", [1, 2])
                assert caught.value.field == "input"
        assert not server.seen


class Careless(Agent):
    """Knows texts alone."""

    @handler
    async def embed(self, request: EmbedRequest) -> Embedded:
        return Embedded(tuple((1.0,) for _ in request.texts))


async def test_an_agent_that_leaves_out_a_vector_is_an_error_at_the_caller() -> None:
    async with Orchestrator(hosts=1) as orc:
        await orc.spawn(Careless, name="careless")
        assert len(await orc.llm.embed("agent:careless/0", ["a", "b"])) == 2
        with pytest.raises(errors.BadReply, match="0 vectors for 1 texts"):
            await orc.llm.embed("agent:careless/0", [1, 2])
