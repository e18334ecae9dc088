"""`llm.report()` beside the records file: the same sums, to the last token and cent, for calls of every kind on real
sockets.
"""

import asyncio
import contextlib
import gc
import json
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.connection.record_sums import assert_same, outcomes_of, record_lines
from tests.support.providers.servers import QUICK, connected, hello, several
from three_mode import Agent, LLMConnection, LLMRequest, LLMResponse, Orchestrator, Usage, errors, handler, sync
from three_mode.connection import ConnectionOptions, Observing
from three_mode.conversations import Conversations
from three_mode.messages import Text
from three_mode.observe import RecordOptions, report_of_records
from three_mode.policies import (
    BreakerOptions,
    CacheOptions,
    CoalesceOptions,
    FallbackOptions,
    HedgeOptions,
    Policies,
    Price,
    Prices,
    Route,
    Target,
)
from three_mode.testing import Answer, Fault, ScriptedProvider, ToolCall, Turn
from three_mode.testing.script import FOREVER, Seen

PRICES = Prices(
    {
        "m": Price(input=Decimal(3), output=Decimal(15), cache_read=Decimal("0.3")),
        "model-of-anthropic": Price(input=Decimal("1.1"), output=Decimal("4.4")),
        "one": Price(input=Decimal(2), output=Decimal(8)),
        "agent/clerk": Price(input=Decimal("0.01"), output=Decimal("0.02")),
    }
)
ROUTES = (Route("trial", (Target("openai", "one"), Target("openai", "two")), by="split"),)
STRAIGHT = Policies(
    retry=QUICK,
    breaker=None,
    cache=CacheOptions(),
    coalesce=CoalesceOptions(streams=True),
    hedge=HedgeOptions(after=5.0),
    routes=ROUTES,
)
FALLING = Policies(retry=QUICK, breaker=None, routes=ROUTES, fallback=FallbackOptions(first_content=20.0))
CALLS = 260


class Clerk(Agent):
    """Answers, and says what it used."""

    @handler(concurrent=64)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        if "bad" in request.messages[-1].text:
            raise errors.ServerError("not now", status=500)
        if "slow" in request.messages[-1].text:
            await asyncio.sleep(60)
        return LLMResponse(parts=(Text("noted"),), usage=Usage(7, 2))


def said_to_clerk(text: str) -> LLMRequest:
    return LLMRequest(model="agent:clerk", messages=[{"role": "user", "content": text}])


def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


def answering(busy_times: int, down: bool = True) -> Callable[[Seen], Any]:
    """A script that does what the words of a request say; `busy` ones are refused that many times each."""
    refused = Counter[str]()

    def answer(seen: Seen) -> Any:
        body = json.dumps(seen.json)
        if "invalid" in body:
            return Answer(status=400)
        if "down" in body and down:
            return Answer(status=503)
        if "busy" in body and refused[body] < busy_times:
            refused[body] += 1
            return Answer(status=503)
        if "add" in body and '"role": "tool"' not in body and "tool_result" not in body:
            return Turn(tool_calls=(ToolCall("add", {"a": 2, "b": 2}),), finish="tool_calls")
        return Turn(cached_tokens=5 if "cached" in body else 0)

    return answer


async def one_call(llm: LLMConnection, number: int) -> None:
    """One call of the kind that its number says."""
    words = (
        "plain",
        "busy",
        "cached",
        "same",
        "invalid",
        "down",
        "add",
        "left",
        "dropped",
        "cancelled",
        "embed",
        "agent",
    )
    word = words[number % len(words)]
    text = "same" if word == "same" else f"{word} {number}"
    metadata: dict[str, Any] = {}
    if number % 3:
        metadata["label"] = f"team {number % 3}"
    if number % 4:
        metadata["conversation"] = f"talk {number % 5}"
    metadata["user"] = f"user {number % 9}"
    model = "trial" if number % 5 == 0 else "agent:clerk" if word == "agent" else "m"
    request = LLMRequest(model=model, messages=[{"role": "user", "content": text}], metadata=metadata)
    if word == "embed":
        await llm.embed("m", [text, "another"])
    elif word == "add":
        await llm.run(request, [add])
    elif word == "cancelled":
        task = asyncio.ensure_future(llm.chat_completion(request) if number % 2 else llm.stream(request).text())
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
    elif word in ("left", "dropped"):
        stream = llm.stream(request)
        async for _ in stream:
            break
        if word == "left":
            await stream.aclose()
    elif number % 2:
        await llm.stream(request).text()
    else:
        await llm.chat_completion(request)


async def many_calls(llm: LLMConnection) -> None:
    """Calls of every kind, twelve at a time."""
    numbers = iter(range(CALLS))

    async def worker() -> None:
        for number in numbers:
            with contextlib.suppress(errors.ThreeModeError):
                await one_call(llm, number)

    await asyncio.gather(*(worker() for _ in range(12)))
    gc.collect()  # streams that were dropped end then
    await asyncio.sleep(0)


async def broken_calls(llm: LLMConnection, server: ScriptedProvider) -> None:
    """Streams that are cut, a call in time and one too late, and a shared call whose first caller leaves."""
    for number in range(4):
        server.next(Turn(text=("Hel", "lo", "!")), fault=Fault(cut_after=2))
        with contextlib.suppress(errors.ThreeModeError):
            await llm.stream(hello(seed=number, metadata={"label": "cut"})).text()
    server.next(Turn(), fault=Fault(stall_before_head=FOREVER))
    with pytest.raises(errors.DeadlineExceeded):
        await llm.chat_completion(hello(seed=77, within=0.2))
    count = len(server.seen)
    server.next(Turn(), fault=Fault(stall_before_head=0.5))
    first, second = (asyncio.ensure_future(llm.chat_completion(hello(seed=78))) for _ in range(2))
    await server.until(lambda provider: len(provider.seen) > count)
    first.cancel()
    await second


@pytest.mark.parametrize("way", ["straight", "falling"])
async def test_sums_are_those_of_the_records(way: str, tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    observe = Observing(records=RecordOptions(path=path))
    names = ("openai",) if way == "straight" else ("openai", "anthropic")
    async with Orchestrator(hosts=0) as orc:
        await orc.spawn(Clerk, name="clerk")
        async with several(
            names,
            policies=STRAIGHT if way == "straight" else FALLING,
            observe=observe,
            options=ConnectionOptions(prices=PRICES),
            bus=orc.bus,
        ) as (llm, servers):
            for name, server in servers.items():
                server.always(answering(2 if way == "straight" else 1, down=name == "openai"))
            await many_calls(llm)
            await broken_calls(llm, servers["openai"])
            await llm.chat_completion(hello("agent:clerk"))
            await llm.chat_completion(hello("tiny", max_tokens=4))
            await llm.stream(hello("tiny", max_tokens=5)).text()
            with contextlib.suppress(errors.ServerError):  # where nobody answers in its place
                await llm.chat_completion(said_to_clerk("bad"))
            recorder = llm._services.log.recorder
            await llm.close()
            report, spent = llm.report(), llm.spent()
    assert recorder is not None
    assert recorder.dropped == 0
    lines = record_lines(path)
    assert_same(report, lines)
    assert report_of_records(path) == report, "the file alone gives all of it, percentiles included"
    assert (report.total.cost, report.total.unpriced) == (spent.cost, spent.unpriced)
    assert report.total.usage.input_tokens == spent.usage.input_tokens
    assert report.total.usage.output_tokens == spent.usage.output_tokens
    total, ends = report.total, outcomes_of(lines)
    assert total.requests > CALLS
    assert min(ends["answered"], ends["failed"], ends["cancelled"]) >= 5
    assert total.retries
    assert report.by_provider["agent"].requests >= 10
    assert (report.by_provider["local"].answered, report.by_provider["local"].cost) == (2, None)
    assert report.by_provider["agent"].attempt_errors["ServerError"] >= 1
    assert set(report.sides("trial")) == {"openai/one", "openai/two"}
    if way == "straight":
        assert total.coalesced
        assert total.cache_hits
        assert ends["late"] == 1, "the caller that began it had left"
    else:
        assert total.switched
        assert report.by_provider["anthropic"].requests
        assert report.by_provider["openai"].attempt_errors["ProviderOverloaded"] > 10


async def test_a_race_is_paid_as_the_ledger_says(tmp_path: Path) -> None:
    path = tmp_path / "calls"
    options = ConnectionOptions(prices=PRICES)
    observe = Observing(records=RecordOptions(path=path))
    async with connected(policies=Policies(hedge=HedgeOptions(after=0.05)), observe=observe, options=options) as (
        llm,
        server,
    ):
        for number in range(20):
            server.next(Turn(), fault=Fault(stall_before_head=FOREVER if number % 4 else 0.1))
            await (llm.chat_completion(hello()) if number % 2 else llm.stream(hello()).text())
        await llm.close()
        report = llm.report()
        assert report.total.hedged == 20
        assert report.total.cost == llm.spent().cost
    assert_same(report, record_lines(path))


async def test_calls_on_the_fast_path_to_agents_are_counted() -> None:
    async with Orchestrator(hosts=0) as orc:
        await orc.spawn(Clerk, name="clerk")
        async with LLMConnection(bus=orc.bus, options=ConnectionOptions(prices=PRICES)) as llm:
            said = {"label": "desk", "conversation": "one"}
            for _ in range(300):
                await llm.chat_completion(hello("agent:clerk", metadata=said))
            assert llm._fast_paths
            assert await llm.stream(hello("agent:clerk", metadata=said)).text() == "noted"
            slow = said_to_clerk("slow")
            task = asyncio.ensure_future(llm.chat_completion(slow))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            with pytest.raises(errors.ServerError):
                await llm.chat_completion(said_to_clerk("bad"))
            report = llm.report()
    clerk = report.by_model["agent/clerk"]
    assert (clerk.requests, clerk.answered, clerk.cancelled, clerk.errors) == (303, 301, 1, {"ServerError": 1})
    assert (clerk.usage.input_tokens, clerk.usage.output_tokens) == (2107, 602)
    assert report.by_label["desk"].cost == llm.spent(label="desk").cost == Decimal("0.00003311")
    assert report.by_conversation["one"].latency.count == 301


async def test_a_stream_that_is_dropped_is_a_call_that_was_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "calls"
    async with connected(observe=Observing(records=RecordOptions(path=path))) as (llm, server):
        server.always(Turn(text=("Hel", "lo")), fault=Fault(stall_after=2))

        async def read_one() -> None:
            async for chunk in llm.stream(hello(metadata={"conversation": "c"})):
                if chunk.text:
                    return

        await read_one()
        gc.collect()
        await server.until(lambda provider: bool(provider.cancelled_requests))
        assert llm.report().by_conversation["c"].cancelled == 1
        await llm.close()
    (line,) = record_lines(path)
    assert (line["outcome"], line["reply"]["parts"][0]["text"]) == ("cancelled", "Hel")
    assert "error" not in line


async def test_a_shared_stream_is_paid_by_the_call_that_began_it_also_after_its_end(tmp_path: Path) -> None:
    path, options = tmp_path / "calls", ConnectionOptions(prices=PRICES)
    observe = Observing(records=RecordOptions(path=path))
    policies = Policies(coalesce=CoalesceOptions(streams=True))
    async with connected(policies=policies, observe=observe, options=options) as (llm, server):
        server.always(Turn(text=("Hel", "lo", "!")), fault=Fault(pause=0.05))
        began = llm.stream(hello(metadata={"label": "began"}))
        joined = llm.stream(hello(metadata={"label": "joined"}))
        async for chunk in began:
            if chunk.text:
                break
        await anext(joined)
        await began.aclose()
        assert await joined.text() == "Hello!"
        await llm.close()
        report = llm.report()
    assert len(server.seen) == 1
    one, other = report.by_label["began"], report.by_label["joined"]
    assert (one.requests, one.cancelled, one.cost) == (1, 1, llm.spent().cost)
    assert (other.requests, other.answered, other.coalesced, other.cost) == (1, 1, 1, 0)
    lines = record_lines(path)
    assert [line.get("outcome", "answered") for line in lines] == ["cancelled", "late", "answered"]
    assert_same(report, lines)


async def test_a_hook_that_fails_is_an_error_by_its_name(tmp_path: Path) -> None:
    def after(reply: LLMResponse) -> LLMResponse:
        raise KeyError("no")

    observe = Observing(records=RecordOptions(path=tmp_path / "calls"), after=after)
    async with connected(observe=observe, options=ConnectionOptions(prices=PRICES)) as (llm, _):
        with pytest.raises(KeyError):
            await llm.chat_completion(hello())
        await llm.close()
        report = llm.report()
    assert (report.total.errors, report.total.attempt_errors) == ({"KeyError": 1}, {})
    assert report.total.cost == llm.spent().cost > 0, "the provider was paid all the same"
    assert_same(report, record_lines(tmp_path / "calls"))


async def test_turns_of_a_conversation_are_counted_under_its_name(tmp_path: Path) -> None:
    async with connected() as (llm, _), Conversations(tmp_path / "talk.db", llm) as talks:
        for name in ("alice/1", "bob/1", "alice/1"):
            talk = await talks.open(name, model="m")
            await talk.say("Hello")
        by_conversation = llm.report("conversation").by_conversation
    assert {name: sums.requests for name, sums in by_conversation.rows.items()} == {"alice/1": 2, "bob/1": 1}
    assert by_conversation.unnamed.requests == 0


# Providers


@pytest.fixture
def no_keys(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OPENAI", "ANTHROPIC", "GEMINI", "GOOGLE", "DEEPSEEK"):
        monkeypatch.delenv(f"{name}_API_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.usefixtures("no_keys")
async def test_providers_say_what_they_were_asked_and_why_others_cannot_be() -> None:
    routes = (Route("r", (Target("http://localhost:1/v1", "x"),)),)
    policies = Policies(retry=QUICK, breaker=BreakerOptions(failures=2), routes=routes)
    async with connected(policies=policies, model="m") as (llm, server):
        await llm.chat_completion(hello())
        found = llm.providers()
        openai = found["openai"]
        assert (openai.available, openai.model, openai.requests, openai.tokens) == (True, "m", 1, 15)
        assert openai.why_not is None
        assert not found["deepseek"].available
        assert "DEEPSEEK_API_KEY" in str(found["deepseek"].why_not)
        assert "`claude` is not installed" in str(found["claude-cli"].why_not)
        assert found["ollama"].available
        assert found["http://localhost:1/v1"].available, "a route names it"
        assert found["local"].available
        server.always(Answer(status=500))
        for seed in range(2):
            with pytest.raises(errors.ThreeModeError):
                await llm.chat_completion(hello(seed=seed))
        openai = llm.providers()["openai"]
        assert (openai.available, openai.breakers) == (False, {"m": "open"})
        assert "the breaker of m is open" in str(openai.why_not)
        server.always(Turn())
        await llm.chat_completion(hello("other"))
        assert llm.providers()["openai"].available, "another model of it answers"


@pytest.mark.usefixtures("no_keys")
def test_a_provider_with_a_wrong_setting_says_so_and_the_others_are_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DEEPSEEK_TIMEOUT", "soon")
    with sync.LLMConnection("openai", api_key="sk-secret-key-of-the-test") as llm:
        found, report = llm.providers(), llm.report("model")
    assert found["openai"].available
    assert "DEEPSEEK_TIMEOUT" in str(found["deepseek"].why_not) or "timeout" in str(found["deepseek"].why_not)
    assert not found["deepseek"].available
    assert "sk-secret" not in repr(found)
    assert report.total.requests == 0
