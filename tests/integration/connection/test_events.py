"""The hub of a connection hears of every call: whole, streamed, with tools, to agents, for vectors, in talks."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.conversations.talking import talking
from tests.support.providers.servers import QUICK, connected, hello, several
from three_mode import Agent, LLMConnection, LLMRequest, LLMResponse, Orchestrator, errors, handler, sync
from three_mode.connection import ConnectionOptions, Observing
from three_mode.conversations import Compaction, ConversationOptions, Window
from three_mode.events import (
    AnalyticsUpdate,
    BudgetUse,
    CallRetry,
    ConversationCompacted,
    ConversationCreated,
    EventReader,
    FunctionCalls,
    LLMEvent,
    ProviderStatusChange,
    ProviderSwitch,
    ResponseChunk,
    ResponseComplete,
    ResponseStart,
    ToolReturned,
)
from three_mode.messages import Text, TextDelta
from three_mode.policies import BreakerOptions, Budget, CacheOptions, Policies, Price, Prices, RetryOptions
from three_mode.testing import Answer, Fault, Turn
from three_mode.testing import ToolCall as Asked

CALLS = ["response_start", "response_chunk", "response_complete"]


def kinds(events: list[LLMEvent]) -> list[str]:
    return [event.kind for event in events]


async def until(reader: EventReader, kind: type[LLMEvent]) -> Any:
    """The next event of a kind."""
    async with asyncio.timeout(10):
        while True:
            event = await anext(reader)
            if isinstance(event, kind):
                return event


async def test_a_whole_call() -> None:
    heard: list[LLMEvent] = []
    async with connected(observe=Observing(events=heard.append, label="me")) as (llm, _):
        request = hello(metadata={"conversation": "alice/1"})
        reply = await llm.chat_completion(request)
    start, complete, totals = heard
    assert isinstance(start, ResponseStart)
    assert (start.model, start.provider, start.call) == ("m", "openai", "chat_completion")
    assert isinstance(complete, ResponseComplete)
    assert (complete.content, complete.usage, complete.latency) == ("Hello world!", reply.usage, reply.latency)
    assert (complete.error, complete.finish_reason, complete.reused) == (None, "stop", None)
    for event in (start, complete):
        assert (event.request_id, event.label, event.conversation) == (reply.request_id, "me", "alice/1")
    assert isinstance(totals, AnalyticsUpdate)
    assert (totals.requests, totals.input_tokens, totals.output_tokens) == (1, 12, 3)


async def test_a_stream_is_told_as_its_reader_gets_it() -> None:
    observe = Observing(each=lambda chunk: TextDelta(chunk.text.upper()))
    async with connected(observe=observe) as (llm, _), llm.events(CALLS) as events:
        assert await llm.stream(hello()).text() == "HELLO WORLD!"
        start, *pieces, complete = events.take()
    assert isinstance(start, ResponseStart)
    assert start.call == "stream"
    assert "".join(piece.text for piece in pieces if isinstance(piece, ResponseChunk)) == "HELLO WORLD!"
    assert isinstance(complete, ResponseComplete)
    assert complete.content == "HELLO WORLD!"


async def test_thinking_is_told_apart_from_text() -> None:
    async with connected("anthropic") as (llm, server):
        server.always(Turn(thinking=("hm",)))
        async with llm.events(["response_chunk"]) as events:
            await llm.stream(hello()).text()
            pieces = [event for event in events.take() if isinstance(event, ResponseChunk)]
    assert "".join(piece.thinking for piece in pieces) == "hm"
    assert "".join(piece.text for piece in pieces) == "Hello world!"


async def test_a_failure_is_told_and_so_is_a_call_that_nobody_was_asked_for() -> None:
    async with connected(policies=Policies(retry=RetryOptions(attempts=1))) as (llm, server):
        server.always(Answer(status=500, pieces=(b"a secret of the provider",)))
        async with llm.events(CALLS) as events:
            with pytest.raises(errors.ServerError):
                await llm.chat_completion(hello())
            with pytest.raises(errors.ServerError):
                await llm.stream(hello()).text()
            with pytest.raises(errors.InvalidRequest):
                await llm.chat_completion(hello(provider="nobody", model="x"))
            told = events.take()
    assert kinds(told) == ["response_start", "response_complete"] * 3
    ends = [event for event in told if isinstance(event, ResponseComplete)]
    assert [end.error for end in ends] == ["ServerError", "ServerError", "InvalidRequest"]
    assert (ends[0].model, ends[0].provider, ends[2].model) == ("m", "openai", "x")
    assert ends[0].request_id
    assert "secret" not in str([event.as_dict() for event in told])


@pytest.mark.parametrize("how", ["cancelled", "left", "dropped"])
async def test_a_stream_that_is_given_up_is_told(how: str) -> None:
    async with connected() as (llm, server):
        server.always(Turn(text=("a", "b", "c")), fault=Fault(stall_after=2))
        events = llm.events(["response_complete"])

        async def read() -> None:
            async for chunk in llm.stream(hello()):
                if chunk.text and how == "dropped":
                    return
            raise AssertionError("it has no end")

        if how == "left":
            async with llm.stream(hello()) as stream:
                await anext(stream)
        else:
            task = asyncio.create_task(read())
            if how == "cancelled":
                await server.until(lambda seen: bool(seen.seen))
                async with llm.events(["response_chunk"]) as pieces:
                    await until(pieces, ResponseChunk)
                task.cancel()
            await asyncio.wait([task])
        end = await until(events, ResponseComplete)
        assert end.error == "Cancelled"
        await server.until(lambda seen: bool(seen.cancelled_requests))


async def test_a_retry_and_a_switch_of_provider() -> None:
    async with several(("openai", "anthropic")) as (llm, servers):
        servers["openai"].next(Answer(status=500, pieces=(b"a secret",)), times=2)
        servers["anthropic"].next(Answer(status=500))
        async with llm.events(["retry", "provider_switch"]) as events:
            reply = await llm.chat_completion(hello())
            told = events.take()
    first, retry, *_ = told  # chance says who is asked first in the second round
    assert isinstance(first, ProviderSwitch)
    assert (first.was, first.target, first.error) == ("openai/m", "anthropic/model-of-anthropic", "ServerError")
    assert isinstance(retry, CallRetry)
    assert (retry.error, retry.attempt) == ("ServerError", 3)
    assert {event.request_id for event in told} == {reply.request_id}
    assert "secret" not in str([event.as_dict() for event in told])


async def test_a_breaker_opens_lets_a_call_try_and_closes() -> None:
    policies = Policies(retry=RetryOptions(attempts=1), breaker=BreakerOptions(failures=2, cool_down=0.2))
    async with connected(policies=policies) as (llm, server):
        server.next(Answer(status=500), times=2)
        events = llm.events(["provider_status_change"])
        for _ in range(2):
            with pytest.raises(errors.ServerError):
                await llm.chat_completion(hello())
        seen = [await until(events, ProviderStatusChange) for _ in range(2)]
        await llm.chat_completion(hello())
        seen.append(await until(events, ProviderStatusChange))
    assert [(event.was, event.status) for event in seen] == [
        ("closed", "open"),
        ("open", "half-open"),
        ("half-open", "closed"),
    ]
    assert {event.target for event in seen} == {"openai/m"}


async def test_a_budget_that_is_used_up() -> None:
    prices = Prices({"openai/m": Price(input=Decimal(10**6), output=Decimal(10**7))})
    policies = Policies(retry=QUICK, budgets=(Budget(limit=100, label="team"),))
    async with connected(policies=policies, options=ConnectionOptions(prices=prices)) as (llm, _):
        events = llm.events(["budget"])
        asked = {"max_tokens": 3, "metadata": {"label": "team"}}
        for _ in range(2):
            await llm.chat_completion(hello(**asked))
        with pytest.raises(errors.BudgetExceeded):
            await llm.chat_completion(hello(**asked))
        marks = [event for event in events.take() if isinstance(event, BudgetUse)]
    assert [(mark.left, mark.refused) for mark in marks] == [(Decimal(16), False), (Decimal(16), True)]
    assert marks[0].budget == "the budget of label team"
    assert marks[0].used == pytest.approx(0.84)
    assert marks[1].label == "team"


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_run_with_tools(streamed: bool) -> None:
    async with connected() as (llm, server):
        server.next(Turn(text=(), tool_calls=(Asked("add", {"a": 2, "b": 2}, "c1"), Asked("sub", {}, "c2"))))
        async with llm.events(["function_calls", "tool_result"]) as events:
            if streamed:
                await llm.run_stream(hello(metadata={"conversation": "t"}), [add]).text()
            else:
                await llm.run(hello(metadata={"conversation": "t"}), [add])
            called, *results = events.take()
    assert isinstance(called, FunctionCalls)
    assert [(call.id, call.name) for call in called.calls] == [("c1", "add"), ("c2", "sub")]
    found = sorted((result for result in results if isinstance(result, ToolReturned)), key=lambda each: each.call_id)
    assert [(each.name, each.status) for each in found] == [("add", "ok"), ("sub", "unknown")]
    assert found[0].content == "4"
    assert {(each.request_id, each.conversation) for each in found} == {(called.request_id, "t")}


async def test_a_limit_that_leaves_calls_out_is_a_result_too() -> None:
    async with connected() as (llm, server):
        server.always(Turn(text=(), tool_calls=(Asked("add", {"a": 2, "b": 2}, "c1"),)))
        async with llm.events(["tool_result"]) as events:
            await llm.run(hello(), [add], most_rounds=1)
            (result,) = events.take()
    assert isinstance(result, ToolReturned)
    assert result.status == "not_run"


async def test_conversations(tmp_path: Path) -> None:
    compaction = ConversationOptions(compaction=Compaction(model="small", keep_last=1), window=Window(tokens=600))
    async with talking(tmp_path / "t.db") as (talks, llm, _):
        async with llm.events(["conversation_created", "compacted", "response_start"]) as events:
            talk = await talks.open("a", options=compaction)
            await talks.open("a")
            for word in ("one", "two", "three"):
                await talk.say(word)
            await talk.compact()
            await (await talk.fork("b")).export()
            told = events.take()
    created, forked = (event for event in told if isinstance(event, ConversationCreated))
    assert (created.conversation, forked.conversation, forked.fork_of) == ("a", "b", "a")
    (compacted,) = (event for event in told if isinstance(event, ConversationCompacted))
    assert (compacted.conversation, compacted.first, compacted.last) == ("a", 1, 2)
    assert {event.conversation for event in told if isinstance(event, ResponseStart)} == {"a"}


async def test_vectors_and_replies_that_were_there() -> None:
    async with connected(policies=Policies(cache=CacheOptions())) as (llm, _):
        async with llm.events(CALLS) as events:
            await llm.embed("m", ["x", "y"])
            start, end = events.take()
            assert isinstance(start, ResponseStart)
            assert isinstance(end, ResponseComplete)
            assert (start.call, start.request_id) == ("embed", end.request_id)
            assert end.usage.input_tokens > 0
            await llm.chat_completion(hello())
            await llm.chat_completion(hello())
            ends = [event for event in events.take() if isinstance(event, ResponseComplete)]
    assert [end.reused for end in ends] == [None, "cache_hit"]


class Parrot(Agent):
    """Is a model, whole and streamed."""

    @handler
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse(parts=(Text("noted"),), model="parrot")

    @handler
    async def stream_completion(self, request: LLMRequest) -> AsyncIterator[str]:
        yield "no"
        yield "ted"


async def test_calls_to_agents_on_their_fast_path() -> None:
    request = LLMRequest(model="agent:parrot", messages=[{"role": "user", "content": "x"}])
    async with Orchestrator(hosts=1) as orc, LLMConnection(bus=orc.bus) as llm:
        await orc.spawn(Parrot, name="parrot")
        for _ in range(2):
            await llm.chat_completion(request)
        assert len(llm._fast_paths) == 1
        steps: list[str] = []
        leave = llm.watch_steps(lambda _, step: steps.append(step.kind))
        async with llm.events(CALLS) as events:
            reply = await llm.chat_completion(request)
            start, end = events.take()
            assert isinstance(end, ResponseComplete)
            assert (start.request_id, end.request_id) == (reply.request_id, reply.request_id)
            assert (end.provider, end.content) == ("agent", "noted")
            await llm.stream(request).text()
            assert kinds(events.take()) == ["response_start", *["response_chunk"] * 2, "response_complete"]
        assert steps == ["attempt", "attempt"]
        leave()
        fast = llm._fast_paths["agent:parrot", None]
        assert await llm.chat_completion(request)
        assert fast._log.events is None, "it is fast again"


async def test_totals_of_a_burst_are_told_once_in_a_while_and_at_the_end() -> None:
    heard: list[LLMEvent] = []
    async with connected() as (llm, _):
        llm.event_hub.listen(heard.append, ["analytics_update"])
        await llm.batch([hello()] * 20)
    totals = [event for event in heard if isinstance(event, AnalyticsUpdate)]
    assert totals[-1].requests == 20
    assert len(totals) < 20


async def test_unknown_kinds_and_closed_connections() -> None:
    async with connected() as (llm, _):
        with pytest.raises(errors.ConfigurationError, match="no kind of event 'nothing'"):
            llm.events(["nothing"])
        with pytest.raises(errors.ConfigurationError, match="this one is async"):
            LLMConnection(observe=Observing(events=_late))  # type: ignore[arg-type]
    with pytest.raises(errors.ConfigurationError, match="closed"):
        llm.events()


async def _late(event: LLMEvent) -> None: ...


def test_a_connection_that_nobody_listens_to_builds_nothing() -> None:
    script = """
import asyncio, sys
from three_mode import LLMConnection
async def main():
    async with LLMConnection(model="tiny") as llm:
        await llm.ask("Hello", max_tokens=2)
        assert llm._services.log.events is None
asyncio.run(main())
print([name for name in sys.modules if name in ("three_mode.events.values", "three_mode.calls.call_events")])
"""
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_events_without_a_loop() -> None:
    with sync.LLMConnection(model="tiny") as llm, llm.events(["response_complete"]) as events:
        assert events.next(within=0.01) is None
        llm.ask("Hello", max_tokens=4)
        first = next(events)
        assert isinstance(first, ResponseComplete)
        assert first.provider == "local"
        llm.ask("Hello", max_tokens=4)
        assert (events.waiting, events.lost) == (1, 0)
        assert kinds(events.take()) == ["response_complete"]
        llm.close()
        assert list(events) == []
