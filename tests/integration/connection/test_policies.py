"""The policies at work in a connection, and what is seen of it: steps, costs, records, metrics, spans."""

import asyncio
import json
import logging
import os
import time
from decimal import Decimal
from pathlib import Path

import pytest

from tests.support.providers.clock import settle
from tests.support.providers.servers import PATHS, QUICK, connected, hello, several, transport
from three_mode import LLMConnection, errors
from three_mode.calls.gates import MOST
from three_mode.connection import Account, ConnectionOptions, Observing
from three_mode.messages import LLMRequest, Text
from three_mode.observe import JSONFormatter, Metrics, RecordOptions
from three_mode.policies import (
    BreakerOptions,
    Budget,
    CacheOptions,
    CoalesceOptions,
    FallbackOptions,
    LimiterOptions,
    Policies,
    Price,
    Prices,
    RetryOptions,
    Route,
    Target,
)
from three_mode.testing import Answer, Fault, ScriptedProvider, Turn
from three_mode.testing.script import FOREVER

# A dollar for each token of the prompt (12 of them), ten for each of the answer (3): $42 a call.
PRICED = ConnectionOptions(prices=Prices({"m": Price(input=Decimal(10**6), output=Decimal(10**7))}))


async def test_a_second_identical_call_comes_from_the_cache() -> None:
    async with connected(policies=Policies(cache=CacheOptions()), options=PRICED) as (llm, server):
        first = await llm.chat_completion(hello())
        again = await llm.chat_completion(hello(metadata={"label": "x"}))
        assert again.parts == first.parts
        assert [step.kind for step in again.steps] == ["cache_hit"]
        assert (first.usage.cost, again.usage.cost) == (Decimal(42), Decimal(0))
        assert again.request_id != first.request_id
        assert again.extra == first.extra, "with the id that the provider gave it"
        stream = llm.stream(hello())
        assert await stream.text() == "Hello world!"
        assert [step.kind for step in stream.response().steps] == ["cache_hit"]
        assert stream.response().usage.cost == 0
        assert len(server.seen) == 1
        await llm.chat_completion(hello(cache={"response": "skip"}))
        assert len(server.seen) == 2
        server.always(Turn(text=("new",)))
        assert (await llm.chat_completion(hello(cache={"response": "refresh"}))).content == "new"
        assert (await llm.chat_completion(hello())).content == "new"
        assert llm.spent().calls == 3


@pytest.mark.parametrize("where", ["memory", "file"])
async def test_what_comes_from_the_cache_says_who_gave_it(where: str, tmp_path: Path) -> None:
    path = tmp_path / "cache" if where == "file" else None
    policies = Policies(cache=CacheOptions(path=path), retry=QUICK)
    async with several(("openai", "anthropic"), policies=policies) as (llm, servers):
        servers["openai"].always(Answer(status=500))
        first = await llm.chat_completion(hello(model="m"))
        assert (first.provider, first.steps[-1].provider) == ("anthropic", "anthropic")
        again = await llm.chat_completion(hello(model="m"))
        async with llm.stream(hello(model="m")) as stream:
            text = await stream.text()
        assert (again.content, text) == (first.content, first.content)
        for reply in (again, stream.response()):
            assert (reply.provider, reply.model) == (first.provider, first.model)
            assert [(step.kind, step.provider, step.model) for step in reply.steps] == [
                ("cache_hit", "anthropic", "model-of-anthropic")
            ]
        assert len(servers["anthropic"].seen) == 1
        assert llm.spent(provider="anthropic").calls == 1

        other = hello(model="m", seed=1)
        servers["openai"].always(Turn())
        await llm.chat_completion(other)
        again = await llm.chat_completion(other)
        assert (again.provider, [step.provider for step in again.steps]) == ("openai", ["openai"])


@pytest.mark.parametrize("shared", [False, True])
async def test_a_stream_that_a_fallback_answered_is_found_again(shared: bool) -> None:
    policies = Policies(cache=CacheOptions(), coalesce=CoalesceOptions(streams=shared), retry=QUICK)
    async with several(("openai", "anthropic"), policies=policies) as (llm, servers):
        servers["openai"].always(Answer(status=500))
        assert await llm.stream(hello()).text() == "Hello world!"
        async with llm.stream(hello()) as stream:
            await stream.text()
        for again in (stream.response(), await llm.chat_completion(hello())):
            assert again.content == "Hello world!"
            assert (again.provider, again.model) == ("anthropic", "model-of-anthropic")
            assert [(step.kind, step.provider) for step in again.steps] == [("cache_hit", "anthropic")]
        assert [len(server.seen) for server in servers.values()] == [1, 1]


async def test_a_stream_fills_the_cache_and_a_broken_one_does_not() -> None:
    async with connected(policies=Policies(cache=CacheOptions())) as (llm, server):
        server.next(Turn(text=("Hel", "lo")), fault=Fault(cut_after=2))
        with pytest.raises(errors.StreamInterrupted):
            await llm.stream(hello()).text()
        async with llm.stream(hello()) as stream:
            async for chunk in stream:
                if chunk.text:
                    break
        assert await llm.stream(hello()).text() == "Hello world!"
        count = len(server.seen)
        assert (await llm.chat_completion(hello())).content == "Hello world!"
        assert len(server.seen) == count


async def test_streams_that_break_off_open_the_breaker_and_one_that_ends_well_closes_it() -> None:
    policies = Policies(breaker=BreakerOptions(failures=2, cool_down=0.2))
    broken = Fault(cut_after=2)
    async with connected(policies=policies, max_retries=0) as (llm, server):

        async def breaks_off() -> None:
            server.next(Turn(text=("Hel", "lo")), fault=broken)
            with pytest.raises(errors.StreamInterrupted):
                await llm.stream(hello()).text()

        await breaks_off()
        assert await llm.stream(hello()).text() == "Hello world!"
        await breaks_off()
        server.next(Turn(text=("Hel", "lo")), fault=Fault(stall_after=2))
        async with llm.stream(hello()) as stream:
            await anext(stream)  # left early: it says nothing
        assert llm.breaker_states() == {}
        await breaks_off()
        assert list(llm.breaker_states().values()) == ["open"]
        with pytest.raises(errors.CircuitOpen):
            await llm.stream(hello()).text()
        await asyncio.sleep(0.25)
        assert await llm.stream(hello()).text() == "Hello world!"
        assert llm.breaker_states() == {}


async def test_guards_that_know_nothing_are_forgotten_where_there_are_many() -> None:
    async with connected(policies=Policies(breaker=BreakerOptions(failures=1)), max_retries=0) as (
        llm,
        server,
    ):
        guards, target = llm._services.gates, Target("openai", "m")
        server.next(Answer(status=500))
        with pytest.raises(errors.ServerError):
            await llm.chat_completion(hello())
        limiter = guards.limiter(target)
        for number in range(5_000):
            agent = Target("agent", f"scout/{number}")
            assert guards.breaker(agent) is guards.breaker(agent)
            assert guards.limiter(agent) is guards.limiter(agent)
        busy = guards.limiter(Target("agent", "busy"))
        assert busy is not None
        assert busy.try_acquire()
        for number in range(5_000):
            guards.limiter(Target("agent", f"other/{number}"))
        assert len(guards._breakers) <= MOST
        assert len(guards._limiters) <= MOST
        assert guards.limiter(target) is limiter, "its endpoint tells it what it hears"
        assert guards.limiter(Target("agent", "busy")) is busy
        assert len(guards.states()) == 1
        with pytest.raises(errors.CircuitOpen):
            await llm.chat_completion(hello())


async def test_errors_and_cut_answers_are_not_kept() -> None:
    async with connected(policies=Policies(cache=CacheOptions()), max_retries=0) as (llm, server):
        server.next(Answer(status=500))
        server.next(Turn(finish="length"))
        with pytest.raises(errors.ServerError):
            await llm.chat_completion(hello())
        assert (await llm.chat_completion(hello())).finish_reason == "length"
        assert (await llm.chat_completion(hello())).finish_reason == "stop"


async def test_a_cache_in_a_file(tmp_path: Path) -> None:
    policies = Policies(cache=CacheOptions(path=tmp_path / "cache"))
    async with connected(policies=policies) as (llm, server):
        await llm.chat_completion(hello())
        port = server.port
    async with connected(policies=policies) as (llm, server):
        llm._services.accounts._given["openai"] = type(llm._services.accounts._given["openai"])(
            api_key="sk-secret-key-of-the-test", base_url=f"https://localhost:{port}/v1"
        )
        reply = await llm.chat_completion(hello())
        assert [step.kind for step in reply.steps] == ["cache_hit"]
        assert server.seen == []
    assert b"sk-secret" not in (tmp_path / "cache").read_bytes()


async def test_a_file_of_the_cache_tells_accounts_with_one_key_apart(tmp_path: Path) -> None:
    policies = Policies(cache=CacheOptions(path=tmp_path / "cache"))
    accounts = (
        {"headers": {"X-Team": "red"}},
        {"headers": {"X-Team": "blue"}},
        {"headers": {"X-Team": "blue"}, "safety": {"HARM_CATEGORY_HARASSMENT": "BLOCK_NONE"}},
        {},
    )
    async with ScriptedProvider("http/1.1") as server:
        for number, what in enumerate((*accounts, accounts[1])):
            whose = Account(api_key="k", base_url=server.url + PATHS["gemini"], **what)  # type: ignore[arg-type]
            options = ConnectionOptions(accounts={"gemini": whose}, transport=transport("http/1.1"))
            async with LLMConnection("gemini", policies=policies, options=options) as llm:
                reply = await llm.chat_completion(hello())
                assert [step.kind for step in reply.steps] == ["attempt" if number < 4 else "cache_hit"]
        assert len(server.seen) == 4
    assert b"blue" not in (tmp_path / "cache").read_bytes()


async def test_identical_calls_in_flight_are_one() -> None:
    async with connected(policies=Policies(coalesce=True)) as (llm, server):
        server.always(Turn(), fault=Fault(stall_before_head=0.1))
        replies = await asyncio.gather(*(llm.chat_completion(hello()) for _ in range(10)))
        assert len(server.seen) == 1
        assert {reply.content for reply in replies} == {"Hello world!"}
        assert sum(any(step.kind == "coalesced" for step in reply.steps) for reply in replies) == 9
        assert len({reply.request_id for reply in replies}) == 10
        assert llm.spent().calls == 1
        await asyncio.gather(llm.chat_completion(hello()), llm.chat_completion(hello(temperature=0.5)))
        assert len(server.seen) == 3


async def test_a_coalesced_call_ends_at_the_server_when_nobody_waits_any_more() -> None:
    async with connected(policies=Policies(coalesce=True)) as (llm, server):
        server.always(Turn(), fault=Fault(stall_before_head=60))
        tasks = [asyncio.ensure_future(llm.chat_completion(hello())) for _ in range(3)]
        await server.until(lambda seen: len(seen.seen) == 1)
        await asyncio.sleep(0.05)
        tasks[0].cancel()
        await asyncio.sleep(0.1)
        assert not server.cancelled_requests
        for task in tasks:
            task.cancel()
        await server.until(lambda seen: bool(seen.cancelled_requests))
        await asyncio.wait(tasks)


async def test_costs_and_a_budget() -> None:
    policies = Policies(retry=QUICK, budgets=(Budget(limit=150, label="team"),))
    async with connected(policies=policies, options=PRICED) as (llm, server):
        asked = {"max_tokens": 3, "metadata": {"label": "team"}}
        reply = await llm.chat_completion(hello(**asked))
        assert reply.usage.cost == Decimal(42)
        stream = llm.stream(hello(**asked))
        await stream.text()
        assert stream.response().usage.cost == Decimal(42)
        await llm.chat_completion(hello(**asked))
        with pytest.raises(errors.BudgetExceeded, match="label team"):
            await llm.chat_completion(hello(**asked))
        assert len(server.seen) == 3
        assert llm.spent(label="team").cost == Decimal(126)
        assert llm.spent(provider="openai", model="m").usage.output_tokens == 9
        assert llm.spent(label="team").usage.cost == llm.spent(label="team").cost
        assert list(llm.budgets().values()) == [Decimal(24)]
        await llm.chat_completion(hello(max_tokens=3))  # of another label
        server.always(Answer(status=400))
        with pytest.raises(errors.InvalidRequest):
            await llm.chat_completion(hello(max_tokens=1))
        assert list(llm.budgets().values()) == [Decimal(24)]


async def test_a_stream_that_is_left_is_paid_for_as_far_as_it_came() -> None:
    policies = Policies(budgets=(Budget(limit=10_000),))
    async with connected(policies=policies, options=PRICED) as (llm, server):
        server.always(Turn(text=("x" * 40,) * 10), fault=Fault(stall_after=4))
        async with llm.stream(hello(max_tokens=10)) as stream:
            async for chunk in stream:
                if chunk.text:
                    break
        assert 0 < llm.spent().cost < 1000
        assert list(llm.budgets().values()) == [10_000 - llm.spent().cost]


async def test_an_unknown_price_is_none() -> None:
    async with connected() as (llm, _):
        reply = await llm.chat_completion(hello("nobody-knows-this-model"))
        assert reply.usage.cost is None
        assert (llm.spent().unpriced, llm.spent().usage.cost) == (1, None)


async def test_a_multiplier_of_tokens_is_in_the_cost() -> None:
    prices = Prices({"claude-opus-4-5": Price(input=Decimal(10**6), output=Decimal(10**7))})
    from tests.support.providers.servers import transport
    from three_mode import LLMConnection
    from three_mode.connection import Account
    from three_mode.testing import ScriptedProvider

    async with ScriptedProvider("h2c") as server:
        account = Account(api_key="k", base_url=server.url + "/v1")
        options = ConnectionOptions(prices=prices, accounts={"aicoding": account}, transport=transport("h2c"))
        async with LLMConnection("aicoding", options=options) as llm:
            assert (await llm.chat_completion(hello("claude-opus-4-5"))).usage.cost == Decimal(63)


async def test_the_limiter_learns_from_headers() -> None:
    limited = (
        (b"content-type", b"application/json"),
        (b"x-ratelimit-remaining-requests", b"0"),
        (b"x-ratelimit-reset-requests", b"300ms"),
    )
    whole = (
        b'{"id":"c","model":"m","choices":[{"index":0,"finish_reason":"stop",'
        b'"message":{"role":"assistant","content":"x"}}]}'
    )
    async with connected() as (llm, server):
        server.next(Answer(headers=limited, pieces=(whole,)))
        await llm.chat_completion(hello())
        began = time.monotonic()
        reply = await llm.chat_completion(hello())
        assert time.monotonic() - began >= 0.25
        assert [step.kind for step in reply.steps] == ["wait", "attempt"]


async def test_a_limit_of_calls_at_once_holds() -> None:
    async with connected(policies=Policies(limiter=LimiterOptions(at_once=3))) as (llm, server):
        server.always(Turn(), fault=Fault(stall_before_head=0.03))
        tasks = [asyncio.ensure_future(llm.chat_completion(hello())) for _ in range(12)]
        most = 0
        while not all(task.done() for task in tasks):
            most = max(most, sum(not seen.finished for seen in server.seen))
            await asyncio.sleep(0.003)
        assert most == 3


@pytest.mark.parametrize("streamed", [False, True])
async def test_who_waits_for_a_place_waits_no_longer_than_its_deadline(streamed: bool) -> None:
    policies = Policies(limiter=LimiterOptions(at_once=1), breaker=BreakerOptions(failures=1), retry=QUICK)
    async with connected(policies=policies) as (llm, server):
        server.always(Turn(), fault=Fault(stall_before_head=FOREVER))
        slow = asyncio.ensure_future(llm.chat_completion(hello()))
        await server.until(lambda seen: len(seen.seen) == 1)
        request = hello(within=0.1)
        call = llm.stream(request).text() if streamed else llm.chat_completion(request)
        with pytest.raises(errors.DeadlineExceeded) as caught:
            await asyncio.wait_for(call, 20)
        assert caught.value.stage == "queue"
        assert llm.breaker_states() == {}, "the provider was not asked"
        slow.cancel()
        server.always(Turn())
        assert (await llm.chat_completion(hello())).content == "Hello world!"


async def test_who_waits_for_the_rate_limit_hears_that_the_connection_is_closed() -> None:
    async with connected(policies=Policies(retry=RetryOptions(attempts=1))) as (llm, server):
        server.always(Answer(status=429, headers=((b"retry-after", b"3000"),)))
        with pytest.raises(errors.RateLimit):
            await llm.chat_completion(hello())
        waiting = asyncio.ensure_future(llm.chat_completion(hello(within=5000)))
        await settle()
        limiter = llm._services.gates.limiter_of("openai")
        assert limiter is not None
        assert limiter.waiting == 1
        await llm.close()
        with pytest.raises(errors.ConfigurationError, match="closed"):
            await asyncio.wait_for(waiting, 20)


async def test_routes_choose_among_models_and_fall_back_along_them() -> None:
    route = Route(
        "smart",
        (
            Target("openai", "gpt-3.5-turbo"),
            Target("anthropic", "claude-sonnet-4-5"),
            Target("openai", "gpt-4o"),
        ),
    )
    policies = Policies(retry=QUICK, routes=(route,), fallback=FallbackOptions(first_content=20))
    async with several(("openai", "anthropic"), policies=policies) as (llm, servers):
        reply = await llm.chat_completion(hello("smart"))
        assert [step.kind for step in reply.steps] == ["routed", "attempt"]
        assert servers["openai"].seen[0].json["model"] == "gpt-3.5-turbo"
        servers["openai"].always(Answer(status=500))
        assert (await llm.chat_completion(hello("smart"))).provider == "anthropic"
        servers["openai"].always(Turn())
        thinking = await llm.chat_completion(hello("smart", reasoning="low"))
        assert thinking.provider == "anthropic", "the first one cannot think"


# What is seen


async def test_records(tmp_path: Path) -> None:
    path = tmp_path / "calls.jsonl"
    observe = Observing(records=RecordOptions(path=path))
    async with connected(observe=observe, options=PRICED, max_retries=0) as (llm, server):
        secret = {"extra_headers": {"authorization": "Bearer sk-other-secret-0123"}}
        reply = await llm.chat_completion(hello(metadata={"label": "x"}, extra=secret))
        await llm.stream(hello()).text()
        server.always(Answer(status=500))
        with pytest.raises(errors.ServerError):
            await llm.chat_completion(hello())
        for _ in range(1000):  # a thread writes
            if path.read_bytes().count(b"\n") == 3:
                break
            await asyncio.sleep(0.01)
        lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines[0]["request_id"] == reply.request_id
    assert lines[0]["request"]["messages"][0]["content"] == "Hello!"
    assert lines[0]["request"]["metadata"] == {"label": "x"}
    assert lines[0]["reply"]["parts"][0]["text"] == "Hello world!"
    assert lines[0]["cost"] == "42"
    assert lines[1]["first_content"] > 0
    assert lines[2]["error"]["kind"][0] == "ServerError"
    assert all(line["latency"] > 0 for line in lines)
    assert "sk-other" not in path.read_text()
    assert os.stat(path).st_mode & 0o777 == 0o600


async def test_a_call_that_ends_after_its_connection_is_recorded_too(tmp_path: Path) -> None:
    path = tmp_path / "records"
    retry = RetryOptions(attempts=2, first=0.2, jitter=0)
    observe = Observing(records=RecordOptions(path=path))
    async with connected(policies=Policies(retry=retry), observe=observe) as (llm, server):
        await llm.chat_completion(hello())
        server.always(Answer(status=500))
        waiting = asyncio.ensure_future(llm.chat_completion(hello(seed=1)))
        await server.until(lambda seen: len(seen.seen) == 2)
        await settle()
        await llm.close()
        with pytest.raises(errors.ConfigurationError):
            await waiting
    first, second = map(json.loads, path.read_text().splitlines())
    assert (first["reply"]["provider"], second["error"]["kind"][0]) == ("openai", "ConfigurationError")


async def test_records_that_nobody_writes_down_are_counted(tmp_path: Path) -> None:
    from three_mode.observe import RecordWriter

    recorder = RecordWriter(RecordOptions(path=tmp_path / "r", waiting=2))
    recorder._thread = type("Stuck", (), {"join": lambda self, timeout: None})()  # type: ignore[assignment]
    for _ in range(5):
        recorder._put(b"x\n")
    assert recorder.dropped == 3
    recorder._thread = None
    recorder.close()
    with pytest.raises(errors.ConfigurationError):
        RecordWriter(RecordOptions(path=tmp_path / "none" / "r"))


async def test_metrics_and_the_check_of_the_seed() -> None:
    async with connected(max_retries=0) as (llm, server):
        assert llm.metrics.check().compliant is None
        for _ in range(5):
            await llm.chat_completion(hello())
            await llm.stream(hello()).text()
        server.always(Answer(status=500))
        with pytest.raises(errors.ServerError):
            await llm.chat_completion(hello())
        seen = llm.metrics.snapshot("openai", "m")
        assert seen.calls == 11
        assert seen.errors == {"ServerError": 1}
        assert seen.error_rate == pytest.approx(1 / 11)
        assert seen.p50 is not None
        assert seen.p95 is not None
        assert seen.p50 <= seen.p95
        assert seen.first_content_p50 is not None
        assert seen.tokens_per_second is not None


def test_metrics_of_many_agents_are_bounded_and_their_sums_stay() -> None:
    metrics = Metrics(most=100)
    forgotten: list[int] = []
    metrics.held_by(lambda: forgotten.append(1))
    for number in range(1000):
        metrics.record("openai", "gpt-5", 0.5)
        metrics.record("agent", f"a{number}", 0.1, first_content=0.01)
        metrics.failed("agent", f"a{number}", errors.Overloaded("full"))
        assert bool(forgotten) == (number >= 100)
    assert metrics.snapshot().calls == 3000
    seen = metrics.snapshot("agent")
    assert (seen.calls, seen.errors, seen.p50, seen.first_content_p50) == (
        2000,
        {"Overloaded": 1000},
        0.1,
        0.01,
    )
    assert metrics.snapshot("openai", "gpt-5").calls == 1000, "what is in use stays"
    assert metrics.snapshot(model="a0").calls == 0
    assert metrics.latency("agent", "a999") == 0.1
    assert 75 <= len(metrics.targets()) <= 101
    assert {provider for provider, _ in metrics.targets()} == {"openai", "agent"}
    for number in range(1000):
        metrics.record(f"http://{number}", "m", 0.1)
    assert metrics.snapshot().calls == 4000
    assert len(metrics.targets()) <= 101


def test_percentiles_and_the_limits_of_the_check() -> None:
    metrics = Metrics()
    for number in range(1, 101):
        metrics.record("p", "m", number / 100, first_content=0.1, tokens_per_second=2000)
    seen = metrics.snapshot()
    assert (seen.p50, seen.p95, seen.p99) == (0.5, 0.95, 0.99)
    assert metrics.check().compliant
    assert not metrics.check(p95_limit=0.5).compliant
    assert not metrics.check(tokens_limit=3000).compliant
    assert metrics.latency("p", "m") == pytest.approx(1.0, abs=0.05)
    for _ in range(10_000):
        metrics.record("p", "m", 1.0)
    assert len(metrics._of("p", "m").latencies) == 2048


async def test_spans() -> None:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    observe = Observing(spans=True, tracer=provider.get_tracer("test"))
    async with connected(observe=observe, max_retries=0) as (llm, server):
        await llm.chat_completion(hello(temperature=0.5, max_tokens=5))
        await llm.stream(hello()).text()
        server.always(Answer(status=429))
        with pytest.raises(errors.RateLimit):
            await llm.chat_completion(hello())
    first, second, third = exporter.get_finished_spans()
    assert first.name == "chat m"
    assert first.attributes is not None
    assert first.attributes["gen_ai.provider.name"] == "openai"
    assert first.attributes["gen_ai.request.temperature"] == 0.5
    assert first.attributes["gen_ai.usage.output_tokens"] == 3
    assert second.attributes is not None
    assert second.attributes["gen_ai.response.finish_reasons"] == ("stop",)
    assert third.attributes is not None
    assert third.attributes["error.type"] == "RateLimit"
    assert "Hello" not in str([span.attributes for span in (first, second, third)])


async def test_logs_are_json_with_one_id_and_content_only_when_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "three_mode.llm")
    async with connected(observe=Observing(log_content=True, label="team")) as (llm, server):
        server.next(Answer(status=500))
        reply = await llm.chat_completion(hello())
    lines = [json.loads(JSONFormatter().format(record)) for record in caplog.records if record.name == "three_mode.llm"]
    assert [line["event"] for line in lines] == ["llm_request", "llm_reply"]
    assert {line["request_id"] for line in lines} == {reply.request_id}
    assert lines[0]["content"] == ["Hello!"]
    assert lines[1]["attempts"] == 2
    assert lines[1]["label"] == "team"
    assert any("retry" in step for step in lines[1]["steps"])


async def test_memory_of_many_calls_is_flat() -> None:
    """Nothing of a call stays but bounded samples: the number of live objects does not grow with calls."""
    import gc

    async with connected(speaks="h2c", policies=Policies(cache=CacheOptions(entries=10), coalesce=True)) as (
        llm,
        server,
    ):

        async def some(count: int) -> int:
            for number in range(count):
                request = LLMRequest(messages=[{"role": "user", "content": (Text(str(number)),)}], model="m")
                await llm.chat_completion(request)
                server.seen.clear()
            gc.collect()
            return len(gc.get_objects())

        await some(50)
        before = await some(50)
        after = await some(300)
        assert after - before < 300, "an object or more stays for each call"
