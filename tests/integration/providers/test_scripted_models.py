"""The scripted provider lists its models in every wire format, and keeps its turns for requests that ask for one."""

import anthropic
import openai
import pytest

from tests.support.providers.servers import PATHS, connected, hello
from three_mode import LLMConnection, LLMRequest
from three_mode.testing import Answer, Fault, ScriptedProvider, Turn


@pytest.mark.parametrize("provider", [name for name in PATHS if name != "qwen"])
async def test_it_lists_its_models(provider: str) -> None:
    async with connected(provider) as (llm, server):
        assert await llm.models() == ("scripted",)
        server.models = ("one", "two")
        server.next(Turn(text=("for the chat",)))
        assert await llm.models() == ("one", "two")
        assert (await llm.health())[provider].models == 2
        assert (await llm.chat_completion(hello())).content == "for the chat"
        server.always(Answer(status=500))
        assert not (await llm.health())[provider].ok
        server.always(Turn(), fault=Fault(stall_before_head=60))
        assert not (await llm.health(within=0.2))[provider].ok


async def test_official_clients_read_the_list() -> None:
    async with ScriptedProvider("http/1.1") as server:
        server.models = ("one", "two")
        async with openai.AsyncOpenAI(api_key="k", base_url=server.url + "/v1") as client:
            assert [model.id async for model in client.models.list()] == ["one", "two"]
        async with anthropic.AsyncAnthropic(api_key="k", base_url=server.url) as other:
            assert [model.id async for model in other.models.list()] == ["one", "two"]


async def test_a_conversation_goes_on_with_the_reply_as_it_is() -> None:
    async with ScriptedProvider("http/1.1") as server, LLMConnection(base_url=server.url + "/v1", model="m") as llm:
        request = hello(None)
        reply = await llm.chat_completion(request)
        again = LLMRequest(messages=[*request.messages, reply, {"role": "user", "content": "Go on."}])
        await llm.chat_completion(again)
        assert [message["role"] for message in server.seen[1].json["messages"]] == ["user", "assistant", "user"]
        assert server.seen[1].json["messages"][1]["content"] == "Hello world!"
