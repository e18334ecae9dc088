"""Batches that a provider answers later, against the scripted provider: submitted, polled, resumed, read in order."""

import asyncio
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.connection.batches import PRICES, QUICK, WIRES, asking, batching, echo, numbered, said
from tests.support.providers.servers import account, transport
from three_mode import LLMConnection, LLMRequest, errors
from three_mode.connection import BatchJob, BatchStatus, ConnectionOptions, Observing
from three_mode.handling import HandledCall, current
from three_mode.messages import LLMResponse
from three_mode.observe import RecordOptions
from three_mode.policies import Budget, Policies, Route, Target
from three_mode.providers.profile import BatchTerms
from three_mode.testing import ScriptedProvider, ToolCall, Turn

SOON = {"within": 20, "every": 0.01}


def another(provider: str, server: ScriptedProvider, **options: Any) -> LLMConnection:
    """A connection that knows nothing of the first, as after a restart."""
    settings = ConnectionOptions(
        prices=PRICES, accounts={provider: account(provider, server)}, transport=transport("h2")
    )
    return LLMConnection(provider, policies=Policies(retry=QUICK), options=settings, **options)


@pytest.mark.parametrize("provider", WIRES)
async def test_results_come_in_the_order_of_the_requests(provider: str) -> None:
    """The provider sends them in another order, and refuses one."""
    async with batching(provider) as (llm, server):
        requests = [asking("one"), asking("bad"), asking("three"), asking("four")]
        job = await llm.batch(requests, later=True)
        assert isinstance(job, BatchJob)
        assert job.id.startswith(f"{provider}/m/")
        status = await job.status()
        assert (status.state, status.done, status.total, status.waiting) == ("running", False, 4, 4)
        assert status.expires_at is not None
        assert status.created_at is not None
        assert (status.expires_at - status.created_at).total_seconds() == 24 * 3600
        server.batches.finish()
        outcomes = await job.results(**SOON)
        assert said(outcomes) == ["one", "InvalidRequest", "three", "four"]
        bad = outcomes[1]
        assert isinstance(bad, errors.InvalidRequest)
        assert (bad.provider, bad.model) == (provider, "m")
        assert "no such thing" in bad.message
        reply = outcomes[0]
        assert isinstance(reply, LLMResponse)
        assert (reply.provider, reply.finish_reason, reply.usage.total_tokens) == (provider, "stop", 15)
        assert reply.extra["batch"] == server.batches.made[0].id
        status = await job.status()
        assert (status.state, status.succeeded, status.failed, status.waiting) == ("completed", 3, 1, 0)
        assert await job.results() == outcomes, "they are kept"


@pytest.mark.parametrize("provider", WIRES)
async def test_a_job_is_resumed_by_its_id_alone(provider: str) -> None:
    async with batching(provider) as (llm, server):
        job = await llm.batch([asking(f"say {n}", metadata={"label": f"user {n}"}) for n in range(5)], later=True)
        name = job.id
        async with another(provider, server) as later:
            resumed = later.batch_job(name)
            assert (resumed.id, repr(resumed)) == (name, f"<BatchJob {name}>")
            waiting = asyncio.ensure_future(resumed.results(**SOON))
            await server.until(lambda seen: sum(each.method == "GET" for each in seen.seen) >= 3)
            server.batches.finish()
            outcomes = await waiting
            assert said(outcomes) == [f"say {n}" for n in range(5)]
            assert later.spent(label="user 3").calls == 1, "the label travelled with the request"
            assert later.spent(model="m").cost == 5 * 18 / 2, "at half the price"


@pytest.mark.parametrize("provider", WIRES)
async def test_bodies_are_those_of_live_calls(provider: str) -> None:
    """All of a request goes, as it goes with a live one."""
    whole: dict[str, Any] = {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [{"type": "text", "text": "Look"}, {"type": "image", "url": "https://x.test/a.png"}],
            },
        ],
        "model": "m",
        "max_tokens": 99,
        "stop": ("x",),
        "tools": [{"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}],
        "tool_choice": "required",
        "response_format": list[int],
        "extra": {"service_tier": "auto"},
        "temperature": 0.2,
    }
    requests = [LLMRequest(**whole), asking("plain")]
    async with batching(provider) as (llm, server):
        server.always(Turn())
        for request in requests:
            await llm.chat_completion(request)
        live = [seen.json for seen in server.seen]
        await llm.batch(requests, later=True)
        made = server.batches.made[0]
        assert [each.body for each in made.requests] == live
        sent = next(seen for seen in server.seen if seen.path.endswith("batches"))
        if provider == "anthropic":
            assert sent.headers["anthropic-version"] == "2023-06-01", "the version that takes a temperature"
        else:
            assert made.said["metadata"]["three_mode_requests"] == "2"


async def test_headers_of_requests_go_with_the_batch_of_anthropic() -> None:
    async with batching("anthropic") as (llm, server):
        beta = {"extra_headers": {"anthropic-beta": "long-context"}}
        await llm.batch([asking("a", extra=beta), asking("b"), asking("c", extra=beta)], later=True)
        (sent,) = server.seen
        assert (sent.headers["anthropic-beta"], sent.headers["anthropic-version"]) == ("long-context", "2026-10-21")
        assert len(server.batches.made[0].requests) == 3


async def test_a_job_inside_a_call_has_the_time_of_that_call() -> None:
    """As in the handler of an agent: what is left of its deadline, and no more."""
    async with batching("openai") as (llm, _):
        job = await llm.batch(numbered(1), later=True)
        began = time.monotonic()
        token = current.set(HandledCall(agent="scout/1", deadline=began + 0.4))
        try:
            with pytest.raises(errors.DeadlineExceeded):
                await job.results(every=0.05)
        finally:
            current.reset(token)
        assert time.monotonic() - began < 20, "rather than a day"


@pytest.mark.parametrize("provider", WIRES)
async def test_each_result_is_booked_once(provider: str, tmp_path: Path) -> None:
    """At half the price: in the ledger, the metrics and the records, however often the results are read."""
    file = tmp_path / "records.jsonl"
    observe = Observing(records=RecordOptions(path=file), label="night")
    async with batching(provider, observe=observe) as (llm, server):
        job = await llm.batch([asking("one"), asking("bad")], later=True)
        server.batches.finish()
        for handle in (job, job, llm.batch_job(job.id), llm.batch_job(job.id)):
            outcomes = await handle.results(**SOON)
        reply = outcomes[0]
        assert isinstance(reply, LLMResponse)
        assert reply.usage.cost == Decimal(12 + 3 * 2) / 2
        spent = llm.spent(label="night")
        assert (spent.calls, spent.cost) == (1, reply.usage.cost)
        seen = llm.metrics.snapshot(provider, "m")
        assert (seen.calls, seen.errors, seen.p50) == (2, {"InvalidRequest": 1}, None), "a day is no latency of a call"
    records = [msgspec.json.decode(line) for line in file.read_bytes().splitlines()]
    assert [record["request"]["messages"][0]["content"] for record in records] == ["one", "bad"]
    assert Decimal(records[0]["cost"]) == reply.usage.cost
    assert records[1]["error"]["kind"][0] == "InvalidRequest"


async def test_a_job_without_its_requests_is_recorded_too(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    async with batching("openai") as (llm, server):
        job = await llm.batch([asking("one")], later=True)
        server.batches.finish()
        async with another("openai", server, observe=Observing(records=RecordOptions(path=file))) as later:
            await later.batch_job(job.id).results(**SOON)
    record = msgspec.json.decode(file.read_bytes())
    assert (record.get("request"), record["cost"]) == (None, "9.0")


async def test_a_budget_holds_for_a_batch() -> None:
    """What it may cost is set aside when it is submitted, and what it cost is booked in its place."""
    policies = Policies(retry=QUICK, budgets=(Budget(limit=40, label="a"),))
    async with batching("openai", policies) as (llm, server):
        with pytest.raises(errors.BudgetExceeded, match=r"requests\[3\]"):
            await llm.batch([asking("hi", metadata={"label": "a"})] * 9, later=True)
        assert not server.seen, "nothing was submitted"
        assert llm.budgets() == {"the budget of label a": Decimal(40)}
        job = await llm.batch([asking("hi", metadata={"label": "a"})], later=True)
        (left,) = llm.budgets().values()
        assert left < 40 - 9
        server.batches.finish()
        await job.results(**SOON)
        assert llm.budgets() == {"the budget of label a": Decimal(31)}


async def test_a_refused_submission_frees_what_it_set_aside() -> None:
    policies = Policies(retry=QUICK, budgets=(Budget(limit=40, label="a"),))
    async with batching("openai", policies) as (llm, server):
        server.batches.next("create", echo_refusal())
        with pytest.raises(errors.InvalidRequest, match="no such thing"):
            await llm.batch([asking("hi", metadata={"label": "a"})], later=True)
        assert llm.budgets() == {"the budget of label a": Decimal(40)}


def echo_refusal() -> Any:
    class Bad:
        path, json = "/v1/chat/completions", {"messages": [{"content": "bad"}]}

    return echo(Bad)  # type: ignore[arg-type]


@pytest.mark.parametrize("provider", WIRES)
async def test_progress_is_told_when_it_changes(provider: str) -> None:
    async with batching(provider) as (llm, server):
        told: list[BatchStatus] = []

        async def progress(status: BatchStatus) -> None:
            told.append(status)
            if len(told) == 1:
                server.batches.finish()

        job = await llm.batch(numbered(3), later=True)
        await job.results(**SOON, progress=progress)
        seen = [(each.state, each.waiting, each.done) for each in told]
        assert seen == [("running", 3, False), ("completed", 0, True)]


@pytest.mark.parametrize("provider", WIRES)
async def test_what_expired_says_so(provider: str) -> None:
    async with batching(provider) as (llm, server):
        job = await llm.batch(numbered(3), later=True)
        server.batches.finish(answered=1, rest="expired")
        outcomes = await job.results(**SOON)
        assert said(outcomes) == ["say 0", "DeadlineExceeded", "DeadlineExceeded"]
        late = outcomes[2]
        assert isinstance(late, errors.DeadlineExceeded)
        assert (late.stage, late.provider, late.model, late.retryable) == ("batch", provider, "m", True)
        status = await job.status()
        assert (status.state, status.succeeded) == ("expired", 1)
        assert llm.spent().calls == 1


@pytest.mark.parametrize("provider", WIRES)
async def test_a_job_is_cancelled(provider: str) -> None:
    async with batching(provider) as (llm, server):
        job = await llm.batch(numbered(2), later=True)
        assert (await job.cancel()).state == "cancelling"
        outcomes = await job.results(**SOON)
        assert said(outcomes) == ["BatchCancelled"] * 2
        status = await job.cancel()
        assert (status.state, status.cancelled) == ("cancelled", 2), "cancelling twice does no harm"
        half = await llm.batch(numbered(2), later=True)
        server.batches.finish(answered=1, rest="cancelled")
        assert said(await half.results(**SOON)) == ["say 0", "BatchCancelled"]
        with pytest.raises(errors.NotFound, match="batch_none"):
            await llm.batch_job(f"{provider}/m/batch_none").cancel()


async def test_a_batch_that_openai_refuses_gives_each_request_its_error() -> None:
    async with batching("openai") as (llm, server):
        job = await llm.batch(numbered(3), later=True)
        server.batches.fail({"code": "invalid_value", "message": "line 2 is wrong", "line": 2})
        outcomes = await job.results(**SOON)
        assert said(outcomes) == ["InvalidRequest"] * 3
        assert all("line 2 is wrong" in str(each) for each in outcomes)
        assert (await job.status()).state == "failed"
        full = await llm.batch(numbered(1), later=True)
        server.batches.fail({"code": "token_limit_exceeded", "message": "Enqueued token limit reached", "line": None})
        (outcome,) = await full.results(**SOON)
        assert isinstance(outcome, errors.RateLimit), "it may be submitted again"


@pytest.mark.parametrize("provider", WIRES)
async def test_a_job_above_the_limits_is_several_batches(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from three_mode.providers import catalogue

    profile = catalogue.profile_of(provider)
    small = msgspec.structs.replace(profile, batches=BatchTerms(price=0.5, requests=3, size=600))
    monkeypatch.setitem(catalogue._PROFILES, provider, small)
    async with batching(provider) as (llm, server):
        requests = [asking(f"{'x' * (n == 4) * 300}{n}") for n in range(8)]
        job = await llm.batch(requests, later=True)
        sizes = [len(batch.requests) for batch in server.batches.made]
        assert sum(sizes) == 8
        assert sizes != [3, 3, 2], "bytes count too"
        assert max(sizes) <= 3
        assert job.id.count(",") == len(sizes) - 1
        assert (await job.status()).total == 8
        server.batches.finish()
        async with another(provider, server) as later:
            assert said(await later.batch_job(job.id).results(**SOON)) == [r.messages[0].text for r in requests]
        with pytest.raises(errors.InvalidRequest, match=r"requests\[1\] alone has more bytes"):
            await llm.batch([asking("a"), asking("x" * 600)], later=True)


@pytest.mark.parametrize(
    ("requests", "error", "says"),
    [
        ([], errors.InvalidRequest, "at least one"),
        ("hi", errors.InvalidRequest, "takes a list"),
        ([asking("a"), "b"], errors.InvalidRequest, r"requests\[1\]"),
        ([asking("a"), asking("b", model="gpt-5"), asking("c")], errors.InvalidRequest, r"openai/m \(2 requests\)"),
        ([asking("a"), asking("b", model="anthropic/m")], errors.InvalidRequest, "submit a batch for each model"),
        ([asking("a", model="agent:brain")], errors.UnsupportedParameter, "'brain' is an agent"),
        ([asking("a", model="tiny")], errors.UnsupportedParameter, "'tiny' is a model of this computer"),
        ([asking("a", model="smart")], errors.UnsupportedParameter, "is a route"),
        ([asking("a", model="gemini/x")], errors.UnsupportedParameter, "gemini is not known to take batches"),
        ([asking("a", within=3)], errors.UnsupportedParameter, "no deadline of its own"),
        ([asking("a", extra={"stream": True})], errors.UnsupportedParameter, "stream"),
        ([asking("a", extra={"extra_headers": {"x-a": "b"}})], errors.UnsupportedParameter, "no headers"),
        ([asking("a", metadata={"label": "l" * 40})], errors.InvalidRequest, "too long for a batch"),
    ],
)
async def test_what_cannot_go_is_refused_before_anything_is_sent(requests: Any, error: type, says: str) -> None:
    policies = Policies(retry=QUICK, routes=(Route("smart", (Target("openai", "m"),)),))
    async with batching("openai", policies) as (llm, server):
        with pytest.raises(error, match=says) as found:
            await llm.batch(requests, later=True)
        assert not server.seen
        assert found.value.field


async def test_arguments_that_do_not_go_together() -> None:
    async with batching("openai") as (llm, _):
        for options in ({"later": True, "progress": print}, {"within": 3}, {"file": "x"}):
            with pytest.raises(errors.InvalidRequest):
                await llm.batch(numbered(1), **options)  # type: ignore[call-overload]
        for bad in ("", "openai", "openai/m", "openai/m/", "openai//batch", "a/b/c/d", None):
            with pytest.raises(errors.InvalidRequest, match="not the id of a batch job"):
                llm.batch_job(bad)  # type: ignore[arg-type]
        with pytest.raises(errors.UnsupportedParameter):
            llm.batch_job("gemini/m/batch_1")
        with pytest.raises(errors.ConfigurationError, match="unknown provider"):
            llm.batch_job("nobody/m/batch_1")
        job = await llm.batch(numbered(1), later=True)
        with pytest.raises(errors.InvalidRequest):
            await job.results(every=0)


@pytest.mark.parametrize("provider", WIRES)
async def test_the_time_of_a_wait_is_kept(provider: str) -> None:
    async with batching(provider) as (llm, server):
        job = await llm.batch(numbered(2), later=True)
        with pytest.raises(errors.DeadlineExceeded, match="the job goes on at the provider") as late:
            await job.results(within=0.3, every=0.02)
        assert job.id in str(late.value)
        server.batches.finish()
        assert said(await job.results(**SOON)) == ["say 0", "say 1"], "the job went on"


@pytest.mark.parametrize("provider", WIRES)
async def test_tools_in_the_prompt_are_read_after_a_restart(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model without tools of its own gets them in the prompt: the custom id says that its text may hold a call."""
    from three_mode.calls import request_prep

    found = request_prep.capabilities("m")
    monkeypatch.setattr(request_prep, "capabilities", lambda model: msgspec.structs.replace(found, tools=False))
    async with batching(provider) as (llm, server):
        server.always(Turn(text=('<tool_call>{"name": "weather", "arguments": {"city": "Oslo"}}</tool_call>',)))
        live = await llm.chat_completion(asking("hi", tools=[{"name": "weather"}]))
        job = await llm.batch([asking("hi", tools=[{"name": "weather"}])], later=True)
        server.batches.finish()
        async with another(provider, server) as later:
            (reply,) = await later.batch_job(job.id).results(**SOON)
        assert isinstance(reply, LLMResponse)
        assert [(call.name, call.arguments) for call in reply.tool_calls] == [
            (call.name, call.arguments) for call in live.tool_calls
        ]
        assert reply.tool_calls


async def test_a_hook_sees_each_reply() -> None:
    def louder(reply: LLMResponse) -> LLMResponse:
        return msgspec.structs.replace(reply, parts=LLMResponse.of(reply.content.upper()).parts)

    async with batching("openai", observe=Observing(after=louder)) as (llm, server):
        job = await llm.batch(numbered(1), later=True)
        server.batches.finish()
        assert said(await job.results(**SOON)) == ["SAY 0"]


async def test_tool_calls_come_as_those_of_a_live_reply() -> None:
    async with batching("anthropic") as (llm, server):
        server.always(Turn(thinking=("hm",), tool_calls=(ToolCall("weather", {"city": "Oslo"}),), finish="tool_calls"))
        request = asking("hi", tools=[{"name": "weather"}])
        live = await llm.chat_completion(request)
        job = await llm.batch([request], later=True)
        server.batches.finish()
        (reply,) = await job.results(**SOON)
        assert isinstance(reply, LLMResponse)
        assert (reply.parts, reply.finish_reason) == (live.parts, live.finish_reason)


async def test_without_a_loop() -> None:
    from three_mode import sync

    async with batching("openai") as (_, server):
        server.batches.at_once = True

        def use() -> list[Any]:
            settings = ConnectionOptions(accounts={"openai": account("openai", server)}, transport=transport("h2"))
            with sync.LLMConnection("openai", options=settings) as llm:
                job = llm.batch(numbered(3), later=True)
                assert isinstance(job, sync.BatchJob)
                assert llm.batch_job(job.id).id == job.id
                assert job.status().done
                assert job.cancel().state == "completed"
                return job.results(**SOON)

        assert said(await asyncio.to_thread(use)) == ["say 0", "say 1", "say 2"]


async def test_any_openai_compatible_address_has_batches() -> None:
    async with batching("openai") as (_, server):
        options = ConnectionOptions(transport=transport("h2"))
        async with LLMConnection(base_url=server.url + "/v1", api_key="k", options=options) as llm:
            job = await llm.batch(numbered(2), later=True)
            assert job.id.startswith("custom/m/batch_")
            server.batches.finish()
            assert said(await job.results(**SOON)) == ["say 0", "say 1"]


async def test_a_batch_of_another_program_is_not_ours() -> None:
    async with batching("anthropic") as (llm, server):
        job = await llm.batch(numbered(2), later=True)
        for number, request in enumerate(server.batches.made[0].requests):
            request.custom_id = f"theirs-{number}"
        server.batches.finish()
        with pytest.raises(errors.InvalidRequest, match="was not submitted by three-mode"):
            await job.results(**SOON)
