"""Snippets of Coda's document, verbatim: only import lines, keys and addresses differ."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import websockets

from tests.support.agents.until import until
from tests.support.compat import coda_document as document
from tests.support.compat.snippets import run
from tests.support.conversations.talking import asked, echo
from tests.support.serve.endpoint import free_port
from three_mode.compat import coda
from three_mode.compat.coda.base_provider import address_of
from three_mode.errors import BadReply, ConfigurationError, InvalidRequest
from three_mode.testing import FOREVER, Answer, Fault, ScriptedProvider, ToolCall, Turn, rate_limited

KEY = "test-key"  # pragma: allowlist secret


@pytest.fixture
async def provider(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncIterator[ScriptedProvider]:
    monkeypatch.chdir(tmp_path)
    async with ScriptedProvider("http/1.1") as server:
        for name in ("OPENAI", "ANTHROPIC"):
            monkeypatch.setenv(f"{name}_BASE_URL", server.url + "/v1")
        yield server


async def started(**more: Any) -> dict[str, Any]:
    """The names after the first snippet: a configuration and a manager."""
    names: dict[str, Any] = await run(document.BASIC, changes={"your-api-key": KEY})
    names.update(more)
    return names


async def test_basic_usage(provider: ScriptedProvider, capsys: pytest.CaptureFixture[str]) -> None:
    names = await started()
    assert capsys.readouterr().out == "Response: Hello world!\n"
    assert names["response2"].conversation_id == names["response"].conversation_id
    assert [message["role"] for message in asked(provider.seen[1])] == ["user", "assistant", "user"]
    assert (provider.seen[0].json["model"], provider.seen[0].json["temperature"]) == ("gpt-4", 0.7)
    assert KEY not in repr(names["config"])
    await names["llm_manager"].close()


async def test_streaming_responses(provider: ScriptedProvider, capsys: pytest.CaptureFixture[str]) -> None:
    names = await run(document.STREAMING, await started())
    assert capsys.readouterr().out.endswith("\nHello world!")
    assert names["chunk"].response.content == "Hello world!"
    await names["llm_manager"].close()


async def test_several_providers(provider: ScriptedProvider) -> None:
    names = await started()
    await names["llm_manager"].close()
    changes = {"openai-key": KEY, "anthropic-key": KEY, "http://localhost:11434": provider.url}
    configured = document.SEVERAL.partition("# Use specific provider")
    await run(configured[0], names, changes)
    names["llm_manager"] = manager = coda.LLMManager(names["config"])
    await run(configured[2], names)
    assert names["response"].provider == "anthropic"
    assert provider.seen[-1].path == "/v1/messages"
    conversation = names["response"].conversation_id
    reply = await manager.continue_conversation(conversation, "And now?", provider="ollama")
    assert reply.provider == "ollama"
    assert provider.seen[-1].path == "/api/chat"
    assert len(asked(provider.seen[-1])) == 3, "the conversation goes on with another provider"
    with pytest.raises(ConfigurationError, match="openai, anthropic, ollama"):
        await manager.generate_response("Hi", provider="nobody")
    await manager.close()


async def test_each_kind_of_provider(provider: ScriptedProvider) -> None:
    names: dict[str, Any] = {"ProviderConfig": coda.ProviderConfig, "LLMProvider": coda.LLMProvider}
    configs = {}
    for kind in ("OPENAI", "ANTHROPIC", "OLLAMA"):
        changes = {"http://localhost:11434": provider.url} if kind == "OLLAMA" else {}
        await run("made = (" + getattr(document, kind).strip() + ")", names, changes)
        configs[kind] = names["made"]
    async with coda.LLMManager(coda.LLMConfig(providers=configs)) as manager:
        for kind in configs:
            await manager.generate_response("Hi", provider=kind)
    sent = [seen.json for seen in provider.seen]
    assert (sent[0]["max_completion_tokens"], sent[0]["top_p"]) == (2000, 1.0)
    assert (sent[1]["model"], sent[1]["max_tokens"]) == ("claude-3-sonnet-20240229", 4096)
    assert sent[2]["options"]["temperature"] == 0.7


async def test_two_accounts_of_one_provider_are_two(provider: ScriptedProvider) -> None:
    config = coda.LLMConfig(
        providers={
            name: coda.ProviderConfig(provider=coda.LLMProvider.OPENAI, model=name, api_key=f"key-{name}")
            for name in ("fast", "smart")
        }
    )
    async with coda.LLMManager(config) as manager:
        for name in config.providers:
            await manager.generate_response("Hi", provider=name)
    assert [(seen.json["model"], seen.headers["authorization"]) for seen in provider.seen] == [
        ("fast", "Bearer key-fast"),
        ("smart", "Bearer key-smart"),
    ]


async def test_a_local_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    local = coda.ProviderConfig(
        provider=coda.LLMProvider.LOCAL, model="tiny", temperature=0.0, max_tokens=16, extra_params={"device": "cpu"}
    )
    async with coda.LLMManager(coda.LLMConfig(providers={"here": local})) as manager:
        response = await manager.generate_response("Hello!")
        assert response.content
        assert response.usage.total_tokens > 0
        pieces = [chunk.delta async for chunk in manager.generate_response("Hello!", stream=True)]
        assert "".join(pieces) == response.content
        status = await manager.get_provider_status("here")
        assert (status["available"], status["request_count"]) == (True, 2)
    wrong = coda.ProviderConfig(provider=coda.LLMProvider.LOCAL, model="tiny", extra_params={"devise": "cpu"})
    async with coda.LLMManager(coda.LLMConfig(providers={"here": wrong})) as manager:
        with pytest.raises(coda.LLMError, match="fields of LoadOptions"):
            await manager.generate_response("Hello!")


async def test_a_prompt_for_a_local_model_goes_to_no_provider(provider: ScriptedProvider, monkeypatch: Any) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    names: dict[str, Any] = {"ProviderConfig": coda.ProviderConfig, "LLMProvider": coda.LLMProvider}
    await run("made = (" + document.LOCAL.strip() + ")", names, {"microsoft/DialoGPT-medium": "nobody/has-this-model"})
    assert address_of(names["made"]) == "hf:nobody/has-this-model"
    async with coda.LLMManager(coda.LLMConfig(providers={"here": names["made"]})) as manager:
        with pytest.raises(coda.LLMError):
            await manager.generate_response("Hello!")
        assert not (await manager.get_provider_status("here"))["available"]
    assert not provider.seen


async def test_conversations_by_hand(provider: ScriptedProvider) -> None:
    names = await run(document.CONVERSATIONS)
    manager = names["conv_manager"]
    assert names["conversation"].conversation_id == "my-conversation"
    assert [(each.role, each.content) for each in names["context"]] == [("user", "Hello, world!")]

    async def add(role: coda.MessageRole, content: str) -> None:
        await manager.add_message("my-conversation", coda.LLMMessage(role=role, content=content))

    await add(coda.MessageRole.SYSTEM, "Be brief.")
    await add(coda.MessageRole.ASSISTANT, "Hello!")
    for number in range(20):
        await add(coda.MessageRole.USER, f"question {number} " + "word " * 20)
        await add(coda.MessageRole.ASSISTANT, f"answer {number}")
    whole = (await manager.get_conversation("my-conversation")).messages
    assert [each.role for each in whole[:3]] == ["system", "user", "assistant"]
    assert len(whole) == 43
    context = await manager.get_conversation_context("my-conversation", max_tokens=200)
    assert context[0].content == "Be brief."
    assert context[-1].content == "answer 19"
    assert len(context) < 20
    assert await manager.list_conversations() == ["my-conversation"]
    fresh = await manager.create_conversation()
    with pytest.raises(InvalidRequest, match="begins with what the user says"):
        await manager.add_message(fresh.conversation_id, coda.LLMMessage(role=coda.MessageRole.ASSISTANT, content="Hi"))
    await manager.delete_conversation("my-conversation")
    with pytest.raises(coda.LLMError, match="no conversation"):
        await manager.get_conversation_context("my-conversation")
    await manager.close()


async def test_turns_of_one_conversation_wait_for_each_other(provider: ScriptedProvider) -> None:
    names = await started()
    provider.always(echo)
    manager = names["llm_manager"]
    replies = await asyncio.gather(*(manager.generate_response(f"n{n}", conversation_id="one") for n in range(8)))
    assert sorted(reply.content.partition(": ")[2] for reply in replies) == [f"n{n}" for n in range(8)]
    lengths = sorted(len(asked(seen)) for seen in provider.seen[-8:])
    assert lengths == [1, 3, 5, 7, 9, 11, 13, 15], "each one saw the turns before it"
    await manager.close()


async def test_a_conversation_takes_in_what_was_added_by_hand(provider: ScriptedProvider) -> None:
    names = await started()
    manager, conversations = names["llm_manager"], names["llm_manager"].conversation_manager
    await conversations.create_conversation("mixed")
    for role, content in (("system", "Be brief."), ("user", "one"), ("assistant", "two")):
        await conversations.add_message("mixed", coda.LLMMessage(role=role, content=content))
    await manager.continue_conversation("mixed", "three")
    assert [message["content"] for message in asked(provider.seen[-1])] == ["Be brief.", "one", "two", "three"]
    context = await conversations.get_conversation_context("mixed")
    assert context[-1].content == "Hello world!"
    await manager.close()


async def test_conversations_outlive_the_manager(provider: ScriptedProvider, tmp_path: Path) -> None:
    def config() -> coda.LLMConfig:
        openai = coda.ProviderConfig(provider=coda.LLMProvider.OPENAI, model="gpt-4", api_key=KEY)
        return coda.LLMConfig(providers={"openai": openai}, conversations_path=str(tmp_path / "talks.db"))

    async with coda.LLMManager(config()) as manager:
        name = (await manager.generate_response("Hello")).conversation_id
    async with coda.LLMManager(config()) as manager:
        await manager.continue_conversation(name, "Still there?")
        assert (await manager.get_analytics())["conversations"]["total_conversations"] == 1
    assert len(asked(provider.seen[-1])) == 3


def what_time_and_sum() -> Turn:
    calls = (ToolCall("get_time", {}, "a"), ToolCall("calculator", {"expression": "2+2"}, "b"))
    return Turn(text=(), tool_calls=calls, finish="tool_calls")


async def test_function_calling(provider: ScriptedProvider) -> None:
    names = await run(document.TOOLS, await started())
    provider.next(what_time_and_sum())
    provider.next(Turn(text=("It is noon, and 4.",)))
    await run(document.ASK_TOOLS, names)
    response, manager, config = names["response"], names["llm_manager"], names["config"]
    assert response.content == "It is noon, and 4."
    assert [(each.call.name, each.status) for each in response.function_results] == [
        ("get_time", "ok"),
        ("calculator", "ok"),
    ]
    assert response.function_results[1].result.content == "4"
    assert asked(provider.seen[-1])[-1]["content"] == "4"

    config.function_calling.auto_execute = False
    provider.next(what_time_and_sum())
    shown = await manager.generate_response("What time is it?")
    assert [call.name for call in shown.function_calls] == ["get_time", "calculator"]
    assert shown.function_results == ()
    config.function_calling.enabled = False
    await manager.generate_response("What time is it?")
    assert "tools" not in provider.seen[-1].json

    def double(number: int) -> int:
        """Twice the number."""
        return 2 * number

    config.function_calling = coda.FunctionCallingConfig(parallel_execution=False)
    names["tool_manager"].register_tool(double)
    assert names["tool_manager"].list_tools() == ["get_time", "calculator", "double"]
    provider.next(Turn(text=(), tool_calls=(ToolCall("double", {"number": 21}),), finish="tool_calls"))
    response = await manager.generate_response("Twice 21?")
    assert response.function_results[0].result.content == "42"
    await manager.close()


async def test_a_tool_whose_call_is_wrong_tells_the_model(provider: ScriptedProvider) -> None:
    names = await run(document.TOOLS, await started())
    bad = (
        ToolCall("calculator", {"expression": "__import__('os').system('true')"}, "a"),
        ToolCall("get_time", {"zone": "Nowhere/Else"}, "b"),
    )
    provider.next(Turn(text=(), tool_calls=bad, finish="tool_calls"))
    response = await names["llm_manager"].generate_response("Go on")
    said = [each.result.content for each in response.function_results]
    assert "no arithmetic" in said[0]
    assert "Europe/Oslo" in said[1]
    await names["llm_manager"].close()


async def test_memory(provider: ScriptedProvider) -> None:
    names = await run(document.MEMORY, await started())
    await names["llm_manager"].generate_response("Which explanations do I prefer?")
    sent = asked(provider.seen[-1])[-1]["content"]
    assert "I prefer detailed explanations" in sent
    assert sent.endswith("Which explanations do I prefer?")
    assert await names["memory_manager"].memory.count() == 1, "a question is not remembered"
    names["config"].memory_integration_enabled = False
    await names["llm_manager"].generate_response("Which explanations do I prefer?")
    assert "detailed" not in str(asked(provider.seen[-1]))
    await names["memory_manager"].close()
    await names["llm_manager"].close()


async def test_personality(provider: ScriptedProvider) -> None:
    names = await run(document.PERSONALITY, await started())
    assert "You are Coda." in asked(provider.seen[-1])[0]["content"]
    names["personality_manager"].set_mood("sleepy")
    await names["llm_manager"].generate_response("And now?")
    assert asked(provider.seen[-1])[0]["content"].endswith("sleepy")
    names["config"].conversation.personality_integration_enabled = False
    await names["llm_manager"].generate_response("And now?")
    assert asked(provider.seen[-1])[0]["role"] == "user"
    await names["llm_manager"].close()


async def test_events_over_a_websocket(provider: ScriptedProvider) -> None:
    names, port = await started(), free_port()
    await names["llm_manager"].close()
    changes = {"CodaWebSocketServer()": f"CodaWebSocketServer(port={port})"}
    await run(document.WEBSOCKET, names, changes)
    manager, server = names["llm_manager"], names["server"]
    async with websockets.connect(server.url) as events:
        await until(lambda: len(server.events) == 1)

        async def read_until(kind: str) -> list[dict[str, Any]]:
            found = []
            while not found or found[-1]["type"] != kind:
                found.append(json.loads(await asyncio.wait_for(events.recv(), 10)))
            return found

        await manager.set_tool_manager(coda.ToolManager())
        provider.next(what_time_and_sum())
        await manager.generate_response("Hello")
        told = await read_until("response_complete")
        assert [event["type"] for event in told if event["type"] != "analytics_update"] == [
            "conversation_created",
            "response_start",
            "function_calls",
            "response_complete",
        ]
        created = next(event for event in told if event["type"] == "conversation_created")["data"]["conversation"]
        told += await read_until("response_complete")
        assert {"tool_result", "response_chunk"} <= {event["type"] for event in told}
        assert "".join(event["data"]["text"] for event in told if event["type"] == "response_chunk") == "Hello world!"
        assert (told[-1]["data"]["content"], told[-1]["data"]["conversation"]) == ("Hello world!", created)
        calls = next(event for event in told if event["type"] == "function_calls")["data"]["calls"]
        assert [call["name"] for call in calls] == ["get_time", "calculator"]
        if told[-1]["type"] != "analytics_update":
            assert (await read_until("analytics_update"))[-1]["data"]["requests"] > 0

        provider.always(Answer(status=401))
        with pytest.raises(coda.LLMAuthenticationError):
            await manager.generate_response("Hello")
        assert (await read_until("response_complete"))[-1]["data"]["error"] == "AuthenticationError"
        provider.always(Turn())
        names["config"].stream_responses = False
        await manager.generate_response("Hello")
        assert "response_chunk" not in {event["type"] for event in await read_until("response_complete")}

        class Says(coda.BaseLLMProvider):
            def get_provider_name(self) -> str:
                return "says"

            async def _make_request(self, messages: Any, **kwargs: Any) -> Any:
                return messages[-1]["content"]

            def _parse_response(self, response: Any) -> Any:
                return response

        manager._providers["says"] = Says()
        await manager.generate_response("my own words", provider="says")
        assert (await read_until("response_complete"))[-1]["data"]["content"] == "my own words"
    with pytest.raises(coda.LLMError, match="a server already"):
        await manager.set_websocket_integration(names["integration"])
    await manager.close()
    await server.stop()
    await server.stop()


async def test_events_without_a_server(provider: ScriptedProvider) -> None:
    names = await started()
    events = names["llm_manager"].events(["response_complete"])
    await names["llm_manager"].generate_response("Hello")
    assert (await anext(events)).content == "Hello world!"
    await names["llm_manager"].close()
    assert [event async for event in events] == []


async def test_a_provider_that_fails_is_an_event(provider: ScriptedProvider) -> None:
    openai = coda.ProviderConfig(provider=coda.LLMProvider.OPENAI, model="gpt-4", api_key=KEY, max_retries=0)
    async with (
        coda.CodaWebSocketServer(port=free_port()) as server,
        coda.WebSocketLLMManager(coda.LLMConfig(providers={"openai": openai})) as manager,
    ):
        await manager.set_websocket_integration(coda.CodaWebSocketIntegration(server))
        async with websockets.connect(server.url + "?kinds=provider_status_change") as events:
            await until(lambda: len(server.events) == 1)
            provider.always(Answer(status=500))
            for _ in range(5):
                with pytest.raises(coda.LLMError):
                    await manager.generate_response("Hello")
            told = json.loads(await asyncio.wait_for(events.recv(), 10))
            assert told["data"] == {"target": "openai/gpt-4", "status": "open", "was": "closed"}


async def test_prompts_by_hand(provider: ScriptedProvider) -> None:
    names = await run(document.ENHANCER)
    assert names["enhanced_system"].startswith("You are a helpful assistant")
    assert '"detailed"' in names["enhanced_system"]
    assert names["enhanced_user"].endswith("Explain machine learning")
    assert "It is " in names["enhanced_user"]

    async with coda.LLMManager(coda.LLMConfig()) as manager:
        memory = coda.MemoryManager()
        await memory.remember("machine learning is fun")
        conversation = await manager.conversation_manager.create_conversation("conv-123")
        await manager.conversation_manager.add_message(
            conversation.conversation_id, coda.LLMMessage(role=coda.MessageRole.USER, content="an earlier question")
        )
        enhancer = coda.PromptEnhancer(
            personality_manager=coda.PersonalityManager(),
            memory_manager=memory,
            conversation_manager=manager.conversation_manager,
            tool_manager=coda.ToolManager(),
        )
        user = await enhancer.enhance_user_prompt("Explain machine learning", context={"conversation_id": "conv-123"})
        assert "an earlier question" in user
        assert "machine learning is fun" in user
        system = await enhancer.enhance_system_prompt("Help.")
        assert "You are Coda." in system
        assert "calculator" in system
        await memory.close()


async def test_the_complete_configuration(provider: ScriptedProvider) -> None:
    names: dict[str, Any] = {"ProviderConfig": coda.ProviderConfig, "LLMProvider": coda.LLMProvider}
    await run(document.COMPLETE, names, {"your-key": KEY})
    async with coda.LLMManager(names["config"]) as manager:
        assert (await manager.generate_response("Hello")).content == "Hello world!"
        provider.always(echo)
        for number in range(40):
            reply = await manager.generate_response(f"number {number}", conversation_id="long")
        assert reply.content.endswith("number 39")
        requests = [asked(seen) for seen in provider.seen]
        assert max(map(len, requests)) <= 51
        assert any("ummar" in str(each) for each in requests), "older turns are summarised"


async def test_analytics_and_status(provider: ScriptedProvider, capsys: pytest.CaptureFixture[str]) -> None:
    names = await started()
    capsys.readouterr()
    await run(document.ANALYTICS, names)
    said = capsys.readouterr().out
    assert "Total conversations: 1\nTotal tokens: 30\nTotal cost: $" in said
    assert said.endswith("openai: 2 requests, 30 tokens\n")
    await run(document.STATUS, names)
    assert capsys.readouterr().out == "openai: ✅\n  Model: gpt-4\n  Requests: 2\n  Tokens: 30\n"
    provider.always(Answer(status=500))
    provider.next(Answer(status=500))
    await run(document.STATUS, names)
    assert capsys.readouterr().out.startswith("openai: ❌\n")
    await names["llm_manager"].close()


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("key", "Invalid API key"),
        ("missing", "Invalid API key"),
        ("limited", "Rate limited, retry after 7.0 seconds"),
        ("slow", "Request timed out"),
        ("filtered", "LLM error: "),
        ("nobody", "LLM error: no provider 'nobody'"),
    ],
)
async def test_errors(
    provider: ScriptedProvider,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    case: str,
    said: str,
) -> None:
    if case == "missing":
        monkeypatch.delenv("OPENAI_BASE_URL")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    config = coda.ProviderConfig(
        provider=coda.LLMProvider.OPENAI,
        model="gpt-4",
        api_key=None if case == "missing" else KEY,
        timeout=0.3,
        max_retries=0,
    )
    answers: dict[str, Any] = {
        "key": Answer(status=401),
        "limited": rate_limited(seconds=7),
        "filtered": Answer(status=400),
    }
    provider.always(answers.get(case, Turn()), fault=Fault(stall_before_head=FOREVER if case == "slow" else 0.0))
    default = "nobody" if case == "nobody" else "openai"
    async with coda.LLMManager(coda.LLMConfig(providers={"openai": config}, default_provider=default)) as manager:
        await run(document.ERRORS, {"llm_manager": manager})
    assert capsys.readouterr().out.startswith(said)


async def test_caching(provider: ScriptedProvider) -> None:
    names = await started()
    before = len(provider.seen)
    await run(document.CACHING, names)
    assert len(provider.seen) == before + 1
    assert names["response2"].content == names["response1"].content
    assert names["response2"].conversation_id != names["response1"].conversation_id
    names["config"].enable_caching = False
    await names["llm_manager"].generate_response("What is AI?")
    assert len(provider.seen) == before + 2
    await names["llm_manager"].close()


async def test_a_provider_of_the_programs_own(provider: ScriptedProvider) -> None:
    names = await run(document.CUSTOM_PROVIDER, await started())
    manager = names["llm_manager"]
    with pytest.raises(BadReply, match="return the text"):  # the document's class has no body
        await manager.generate_response("Hello", provider="custom")

    class Shouts(names["CustomProvider"]):  # type: ignore[misc]
        async def _make_request(self, messages: Any, **kwargs: Any) -> Any:
            return {"words": messages[-1]["content"].upper(), "of": len(messages)}

        def _parse_response(self, response: Any) -> Any:
            return f"{response['of']}: {response['words']}"

    manager._providers["custom"] = Shouts(names["config"])
    first = await manager.generate_response("Hello", provider="custom")
    assert (first.content, first.provider) == ("1: HELLO", "custom")
    pieces = [
        chunk.delta
        async for chunk in manager.continue_conversation(first.conversation_id, "again", "custom", stream=True)
    ]
    assert "".join(pieces) == "3: AGAIN"
    assert (await manager.get_provider_status("custom"))["request_count"] == 2
    assert await manager.list_providers() == ["openai", "custom"]
    await manager.close()


async def test_post_processing(provider: ScriptedProvider) -> None:
    names = await run(document.POST_PROCESSING, {"LLMManager": coda.LLMManager})

    class Filtered(names["CustomLLMManager"]):  # type: ignore[misc]
        def apply_custom_filters(self, content: str) -> str:
            return content.replace("world", "there")

    openai = coda.ProviderConfig(provider=coda.LLMProvider.OPENAI, model="gpt-4", api_key=KEY)
    async with Filtered(coda.LLMConfig(providers={"openai": openai})) as manager:
        assert (await manager.generate_response("Hello")).content == "Hello there!"
        chunks = [chunk async for chunk in manager.generate_response("Hello", stream=True)]
        assert chunks[-1].response.content == "Hello there!"


async def test_leaving_a_stream_cancels_the_call_at_the_provider(provider: ScriptedProvider) -> None:
    names = await started()
    provider.next(Turn(text=("one", "two")), fault=Fault(stall_after=2))
    stream = names["llm_manager"].generate_response("Tell me a story", stream=True)
    assert (await anext(stream)).delta == "one"
    await stream.aclose()
    await provider.until(lambda server: bool(server.cancelled_requests))
    await names["llm_manager"].close()
