"""Conversations that the endpoint keeps, by the official openai SDK."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from tests.support.conversations.talking import asked, echo
from tests.support.providers.servers import connected
from tests.support.serve.endpoint import free_port
from three_mode.conversations import Conversations
from three_mode.serve import App, Connected, ServeOptions, serve
from three_mode.serve.conversations import ConversationBackend
from three_mode.testing import ScriptedProvider, Turn
from three_mode.testing import ToolCall as Asked

TOOLS: Any = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}]


@asynccontextmanager
async def client(path: Path | None) -> AsyncIterator[tuple[openai.AsyncOpenAI, ScriptedProvider]]:
    port = free_port()
    async with connected("openai", model="m") as (llm, server):
        server.always(echo)
        backend = Connected(llm)
        options = ServeOptions(port=port)
        if path is None:
            async with serve(App(backend, options)), _sdk(port) as sdk:
                yield sdk, server
        else:
            async with Conversations(path, llm) as talks:
                async with serve(App(ConversationBackend(backend, talks), options)), _sdk(port) as sdk:
                    yield sdk, server


def _sdk(port: int) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none", max_retries=0)


async def say(sdk: openai.AsyncOpenAI, name: str, text: str, **more: Any) -> Any:
    return await sdk.chat.completions.create(
        model="m",
        messages=[{"role": "user", "content": text}],
        extra_body={"three_mode.conversation": name},
        **more,
    )


async def test_a_chat_goes_on_in_a_conversation(tmp_path: Path) -> None:
    async with client(tmp_path / "t.db") as (sdk, server):
        made = await sdk.conversations.create()
        assert (made.object, made.id[:5]) == ("conversation", "conv_")
        assert (await sdk.conversations.retrieve(made.id)).created_at == made.created_at
        assert (await say(sdk, made.id, "one", temperature=0)).choices[0].message.content == "1: one"
        assert server.seen[0].json["temperature"] == 0
        assert "three_mode.conversation" not in server.seen[0].json, "it never goes to a provider"
        stream = await say(sdk, made.id, "two", stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices])
        assert text == "3: two"
        assert (await say(sdk, made.id, "three")).choices[0].message.content == "5: three", "a stream is kept whole"
        listed = await sdk.conversations.items.list(made.id, order="asc", limit=2)
        texts = [(item.role, item.content[0].text) async for item in listed]  # type: ignore[union-attr]
        assert texts == [
            ("user", "one"),
            ("assistant", "1: one"),
            ("user", "two"),
            ("assistant", "3: two"),
            ("user", "three"),
            ("assistant", "5: three"),
        ]
        assert (await sdk.conversations.delete(made.id)).deleted
        with pytest.raises(openai.NotFoundError):
            await say(sdk, made.id, "four")


async def test_a_fork_goes_its_own_way(tmp_path: Path) -> None:
    async with client(tmp_path / "t.db") as (sdk, _):
        made = await sdk.conversations.create()
        await say(sdk, made.id, "one")
        fork = (await sdk.post(f"/conversations/{made.id}/fork", cast_to=httpx.Response)).json()
        assert (fork["object"], fork["id"][:5], fork["id"] != made.id) == ("conversation", "conv_", True)
        assert (await say(sdk, fork["id"], "two")).choices[0].message.content == "3: two"
        assert len([item async for item in sdk.conversations.items.list(made.id)]) == 2
        assert len([item async for item in sdk.conversations.items.list(fork["id"])]) == 4
        with pytest.raises(openai.NotFoundError):
            await sdk.post("/conversations/conv_nobody/fork", cast_to=httpx.Response)


async def test_tools_and_the_system_message(tmp_path: Path) -> None:
    async with client(tmp_path / "t.db") as (sdk, server):
        made = await sdk.conversations.create(items=[{"type": "message", "role": "system", "content": "Be brief."}])
        server.next(Turn(text=(), tool_calls=(Asked("look", {}, "c1"),), finish="tool_calls"))
        reply = await say(sdk, made.id, "What is it?", tools=TOOLS)
        assert reply.choices[0].message.tool_calls[0].id == "c1"
        await sdk.chat.completions.create(
            model="m",
            messages=[{"role": "tool", "tool_call_id": "c1", "content": "a boat"}],
            tools=TOOLS,
            extra_body={"three_mode.conversation": made.id},
        )
        assert [message["role"] for message in asked(server.seen[-1])] == ["system", "user", "assistant", "tool"]
        kinds = [item.type async for item in await sdk.conversations.items.list(made.id, order="asc")]
        assert kinds == ["message", "message", "function_call", "function_call_output", "message"]


async def test_only_conversations_of_the_endpoint_can_be_reached(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with Conversations(path) as talks:
        await (await talks.open("alice/1")).add("secret", "yes")
    async with client(path) as (sdk, server):
        for name in ("alice/1", "conv_guess"):
            with pytest.raises(openai.NotFoundError):
                await say(sdk, name, "hello")
            with pytest.raises(openai.NotFoundError):
                await sdk.conversations.retrieve(name)
        made = await sdk.conversations.create()
        with pytest.raises(openai.BadRequestError, match="brings what is new"):
            await sdk.chat.completions.create(
                model="m",
                messages=[{"role": "assistant", "content": "I said"}, {"role": "user", "content": "x"}],
                extra_body={"three_mode.conversation": made.id},
            )
        with pytest.raises(openai.BadRequestError, match="metadata"):
            await sdk.conversations.create(metadata={"a": "b"})
        with pytest.raises(openai.NotFoundError, match="no such path or method"):
            await sdk.conversations.update(made.id, metadata={})
        with pytest.raises(openai.BadRequestError, match="limit"):
            await sdk.conversations.items.list(made.id, limit=1000)
        assert not server.seen


async def test_an_endpoint_without_a_file_keeps_none() -> None:
    async with client(None) as (sdk, _):
        with pytest.raises(openai.NotFoundError, match="keeps no conversations"):
            await sdk.conversations.create()
        with pytest.raises(openai.BadRequestError, match="keeps no conversations"):
            await say(sdk, "conv_x", "hello")
