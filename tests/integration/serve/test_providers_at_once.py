"""Requests to a provider's model that are answered without a task: the same answers, requests and books as in the
normal way."""

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.support.agents.until import until
from tests.support.providers.servers import connected
from tests.support.serve.both_ways import CHAT, DIFFERS, MESSAGES, RESPONSES, ask, in_tasks, request, with_messages
from tests.support.serve.endpoint import free_port
from tests.support.serve.raw_provider import RawProvider, answer, completion, raw_provider
from three_mode import LLMConnection, LLMRequest, LLMResponse
from three_mode.connection import ConnectionOptions, Observing
from three_mode.errors import ServerError
from three_mode.messages import RequestDefaults
from three_mode.observe.records import RecordOptions
from three_mode.observe.report import Percentiles
from three_mode.policies import BreakerOptions, CacheOptions, HedgeOptions, LimiterOptions, Policies, RetryOptions
from three_mode.serve import App, Connected, ServeOptions, serve
from three_mode.testing import Turn
from transports.http2 import ConnectionLost

CLOSES = rb"|connection: close\r\n"  # with an answer that is ready before a long body has come: a matter of pieces
VARIES = re.compile(DIFFERS + rb'|"(?:item_id|call_id)":"[^"]*"|127\.0\.0\.1:\d+' + CLOSES)
ONCE = Policies(retry=RetryOptions(attempts=1), breaker=None)
SOON = Policies(retry=RetryOptions(attempts=3, first=0.001, most=0.01), breaker=None)
CALL = {"id": "call_1", "type": "function", "function": {"name": "add", "arguments": '{"x": 1}'}}
ODD = {
    "tool": completion(None, message={"tool_calls": [CALL]}),
    "tool with text": completion("so", message={"tool_calls": [CALL]}),
    "think": completion("so", message={"reasoning_content": "hm"}),
    "refuse": completion(None, message={"refusal": "no"}),
    "annotated": completion(message={"annotations": [{"type": "url_citation"}]}),
    "empty": completion(""),
    "null": completion(None),
    "unicode": completion('é\u2028 \U0001f600 \\ " \n'),
    "no usage": completion(usage=None),
    "details": completion(usage={"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}),
    "negative": completion(usage={"prompt_tokens": -9, "completion_tokens": 2.0}),
    "no model": completion(model=None),
    "two": completion() | {"choices": completion()["choices"] * 2},
    "none": completion() | {"choices": []},
    "length": completion() | {"choices": [{"message": {"content": "x"}, "finish_reason": "length"}]},
    "scores": completion() | {"choices": [{"message": {"content": "x"}, "logprobs": {"content": []}}]},
    "error inside": {"error": {"message": "inside", "code": "rate_limit"}},
    "wrong": completion() | {"usage": {"prompt_tokens": "x"}},
    "no object": [1],
    "no json": b"<html>",
    "bad utf-8": json.dumps(completion("QQ")).encode().replace(b"QQ", b"\xff"),
}
STATUS: dict[str, tuple[Any, int, *tuple[str, ...]]] = {
    "400": ({"error": {"message": "bad field", "param": "top_p", "code": "invalid_value"}}, 400),
    "401": ({"error": {"message": "wrong key upstream-key"}}, 401),
    "404": ({"error": {"message": "no such model", "code": "model_not_found"}}, 404),
    "429": ({"error": {"message": "slow down"}}, 429, "retry-after: 60"),
    "500": ({"error": {"message": "ouch"}}, 500),
    "503": (b"busy", 503),
}


def scripted(asked: dict[str, Any]) -> bytes | None:
    """The answer that the last message names; any other word is repeated."""
    said = asked["messages"][-1]["content"] if asked.get("messages") else ""
    if not isinstance(said, str):
        return answer(completion("parts"))
    if said == "sleep":
        return None
    if said in STATUS:
        value, status, *fields = STATUS[said]
        return answer(value, status, *fields)
    return answer(ODD[said] if said in ODD else completion(f"you said {said}"))


class Running(NamedTuple):
    """An endpoint with a provider behind it."""

    app: App
    port: int
    llm: LLMConnection
    provider: RawProvider


@asynccontextmanager
async def running(
    at_once: bool = True, policies: Policies = ONCE, named: dict[str, str] | None = None, **options: Any
) -> AsyncIterator[Running]:
    connection = options.pop("connection", {})
    async with (
        raw_provider(scripted) as provider,
        LLMConnection(base_url=provider.url, api_key="upstream-key", policies=policies, **connection) as llm,
    ):
        app = App(Connected(llm, models=named), ServeOptions(port=free_port(), **options))
        if not at_once:
            app.at_once = None
        async with serve(app):
            found = Running(app, app.options.port, llm, provider)
            for model in ("m", *(named or {})):  # the way to it is known from now on
                assert b" 200 " in await ask(found, request(CHAT, body("first", model=model)))
            provider.seen.clear()
            yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both() -> AsyncIterator[tuple[Running, Running]]:
    async with running(named={"alias": "m"}) as quick, running(at_once=False, named={"alias": "m"}) as normal:
        yield quick, normal


pytestmark = pytest.mark.asyncio(loop_scope="module")


def body(text: Any = "hi", **fields: Any) -> bytes:
    return json.dumps({"model": "m", "messages": [{"role": "user", "content": text}], **fields}).encode()


def books(found: Running) -> tuple[Any, ...]:
    """All that is counted, without times."""
    lines = found.app.metrics.text(0, 0).decode().splitlines()
    counted = [line for line in lines if line.startswith(("three_mode_requests_total", "three_mode_tokens_total"))]
    total, snapshot = found.llm.report().total, found.llm.metrics.snapshot()
    limiter = found.llm._services.gates.limiter_of("custom")
    return (
        counted,
        found.llm.spent(),
        replace(total, latency=Percentiles(), first_content=Percentiles()),
        (snapshot.calls, snapshot.errors),
        None if limiter is None else (limiter.in_flight, limiter.has_limits),
        found.app.metrics.in_flight,
    )


async def same(both: tuple[Running, Running], data: bytes) -> bytes:
    """The answer that both ways give, with the same requests to the provider and the same books."""
    before = [len(way.provider.seen) for way in both]
    quick, normal = [VARIES.sub(b"", await ask(way, data)) for way in both]
    assert quick == normal
    sent = [way.provider.seen[count:] for way, count in zip(both, before, strict=True)]
    assert sent[0] == sent[1]
    assert books(both[0]) == books(both[1])
    return quick


# --- the same answers -------------------------------------------------------------------------------------------------


class Long(str):
    """A text that takes no room in the report of a failure."""

    def __repr__(self) -> str:
        return f"Long({self[:1]!r} * {len(self)})"


LONG = Long("x" * 70_000)
contents = st.sampled_from(
    ["hi", *ODD, "400", "500", "", 'é\n"x"\u2028', ["a"], [{"type": "text", "text": "part"}], None, 3, LONG]
)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "user", "system", "assistant", "tool", "robot"]), "content": contents},
        optional={"name": st.sampled_from(["me", 1]), "odd": st.just(1)},
    ),
    max_size=3,
)
tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object", "properties": {}}}}
options = st.fixed_dictionaries(
    {"model": st.sampled_from(["m"] * 4 + ["alias"] * 2 + ["agent:x", "gguf:/etc/passwd", 3])},
    optional={
        "stream": st.sampled_from([False, None, 1]),
        "max_tokens": st.sampled_from([5, 0, "5", None]),
        "temperature": st.sampled_from([0, 1, 0.5, -1, True]),
        "n": st.sampled_from([1, 2, 0]),
        "user": st.just("me"),
        "store": st.just(True),
        "metadata": st.sampled_from([{"label": "you"}, {"conversation": "c"}, 5]),
        "stop": st.just(["x"]),
        "seed": st.just(7),
        "tools": st.sampled_from([[tool], [], [{"type": "web"}]]),
        "tool_choice": st.sampled_from(["auto", {"type": "function", "function": {"name": "add"}}]),
        "response_format": st.sampled_from([{"type": "json_object"}, {"type": "odd"}]),
        "logprobs": st.just(True),
        "odd": st.just({"a": 1}),
    },
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from([CHAT, CHAT, CHAT, MESSAGES, RESPONSES]),
    said=messages,
    fields=options,
    within=st.sampled_from([[], ["three-mode-within: 20"], ["three-mode-within: x"]]),
    cut=st.sampled_from([False] * 9 + [True]),
)
async def test_both_ways_answer_ask_and_count_the_same(
    both: tuple[Running, Running], path: str, said: list[Any], fields: dict[str, Any], within: list[str], cut: bool
) -> None:
    data = json.dumps(with_messages(path, said) | fields).encode()
    await same(both, request(path, data[:-2] if cut else data, *within))


def saying(path: str, word: str) -> bytes:
    said = with_messages(path, [{"role": "user", "content": word}])
    return request(path, json.dumps({"model": "m", "max_tokens": 9} | said).encode())


@pytest.mark.parametrize("word", ODD)
@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
async def test_whatever_a_provider_says_both_ways_say_the_same(
    both: tuple[Running, Running], path: str, word: str
) -> None:
    await same(both, saying(path, word))


@pytest.mark.parametrize("word", STATUS)
@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
async def test_whatever_a_provider_refuses_both_ways_say_the_same(path: str, word: str) -> None:
    async with running() as quick, running(at_once=False) as normal:
        await same((quick, normal), saying(path, word))


async def test_a_stream_is_what_it_was(both: tuple[Running, Running]) -> None:
    assert b"you said" in await same(both, request(CHAT, body(stream=True)))


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
async def test_no_task_is_made_for_a_model_that_is_known(path: str) -> None:
    said = {"model": "m", "max_tokens": 9, **with_messages(path, [{"role": "user", "content": "sleep"}])}
    data = json.dumps(said)
    async with running() as found:
        # A late surface is made.
        assert b" 200 " in await ask(found, request(path, data.replace("sleep", "hi").encode()))
        asked = asyncio.create_task(ask(found, request(path, data.encode(), "three-mode-within: 1")))
        await until(lambda: found.provider.waiting == 1)
        assert in_tasks() == 0
        assert found.app.metrics.in_flight == 1
        assert b" 504 " in await asked
        assert found.app.metrics.in_flight == 0
        await until(lambda: found.provider.left == 1)


async def test_what_came_together_of_a_stream_goes_out_together() -> None:
    pieces: list[dict[str, Any]] = [{"content": f"word {number} "} for number in range(50)]
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in pieces]
    choices.append({"index": 0, "delta": {}, "finish_reason": "stop"})
    events = [json.dumps({"id": "c", "model": "m", "choices": [choice]}) for choice in choices]
    data = "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"]).encode()
    async with running() as found:
        said = answer(data).replace(b"application/json", b"text/event-stream")
        found.provider.answers = lambda asked: said
        reply = await ask(found, request(CHAT, body(stream=True)))
        for delta in pieces:
            assert json.dumps(delta, separators=(",", ":")).encode() in reply
        assert b"data: [DONE]\n\n" in reply
        assert len(re.findall(rb"\r\n[0-9a-f]+\r\n", reply)) < 10


# --- what fails -------------------------------------------------------------------------------------------------------


async def test_a_call_that_fails_is_tried_again_in_the_normal_way() -> None:
    async with running(policies=SOON) as found:
        answers = [answer({}, 500), answer({}, 503), answer(completion("at last"))]
        found.provider.answers = lambda asked: answers.pop(0)
        reply = await ask(found, request(CHAT, body()))
        said = json.loads(reply.partition(b"\r\n\r\n")[2])
        assert said["choices"][0]["message"]["content"] == "at last"
        kinds = [step["kind"] for step in said["three_mode"]["steps"]]
        assert kinds == ["attempt", "retry", "attempt", "retry", "attempt"]
        assert found.llm.metrics.snapshot().errors == {"ServerError": 1, "ProviderOverloaded": 1}
        assert (len(found.provider.seen), found.app.metrics.in_flight) == (3, 0)


@pytest.mark.parametrize("policies", [ONCE, Policies(retry=RetryOptions(attempts=2, first=0.001), breaker=None)])
async def test_an_answer_that_is_cut_at_any_byte_is_the_same_failure(policies: Policies) -> None:
    whole_answer = answer(completion("x"))
    async with running(policies=policies) as quick, running(at_once=False, policies=policies) as normal:
        for after in range(len(whole_answer)):
            for way in (quick, normal):
                way.provider.cut_after = after
            reply = await same((quick, normal), request(CHAT, body()))
            assert b" 502 " in reply
        for way in (quick, normal):
            way.provider.cut_after = None
        assert b" 200 " in await same((quick, normal), request(CHAT, body()))


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 X\r\ncontent-length: x\r\n\r\n", b"\0\1", b"HTTP/1.1 999\r\n\r\n"])
async def test_what_is_no_answer_of_http_is_the_same_failure(head: bytes) -> None:
    async with running() as quick, running(at_once=False) as normal:
        for way in (quick, normal):
            way.provider.answers = lambda asked: head
            way.provider.cut_after = len(head)
        assert b" 502 " in await same((quick, normal), request(CHAT, body()))


async def test_an_answer_in_chunks_or_in_pieces_is_read() -> None:
    data = json.dumps(completion("x")).encode()
    chunked = b"HTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(data), data)
    async with running() as quick, running(at_once=False) as normal:
        for way in (quick, normal):
            way.provider.answers = lambda asked: chunked
        assert b" 200 " in await same((quick, normal), request(CHAT, body()))


async def test_an_answer_with_too_many_bytes_is_refused_in_the_same_words() -> None:
    options: dict[str, Any] = {"connection": {"options": ConnectionOptions(reply_bytes=2_000)}}
    async with running(**options) as quick, running(at_once=False, **options) as normal:
        for way in (quick, normal):
            way.provider.answers = lambda asked: answer(completion("x" * 3_000))
        assert b" 502 " in await same((quick, normal), request(CHAT, body()))


async def test_a_provider_that_is_not_there_any_more() -> None:
    async with running() as quick, running(at_once=False) as normal:
        for way in (quick, normal):
            way.llm._services.remote.endpoint("custom")._origin = (  # type: ignore[attr-defined]
                way.llm._services.remote.endpoint("custom")._origin._replace(port=1)  # type: ignore[attr-defined]
            )
        assert b" 502 " in await same((quick, normal), request(CHAT, body()))


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_client_that_goes_away_ends_the_work_of_the_provider(at_once: bool) -> None:
    async with running(at_once) as found:
        _, writer = await asyncio.open_connection("127.0.0.1", found.port)
        writer.write(request(CHAT, body("sleep", metadata={"label": "you"})))
        await until(lambda: found.provider.waiting == 1)
        assert in_tasks() == (0 if at_once else 1)
        writer.transport.abort()
        await until(lambda: found.provider.left == 1)
        await until(lambda: found.app.metrics.in_flight == 0)
        assert 'status="499"' in found.app.metrics.text(0, 0).decode()
        report = found.llm.report("label")
        assert report.total.cancelled == report.by_label.rows["you"].cancelled == 1
        assert found.llm.metrics.snapshot().calls == 1
        assert b" 200 " in await ask(found, request(CHAT, body()))


async def test_a_client_that_goes_away_while_a_failed_call_is_tried_again() -> None:
    patient = Policies(retry=RetryOptions(attempts=50, first=0.05, most=0.05), breaker=None)
    async with running(policies=patient) as found:
        _, writer = await asyncio.open_connection("127.0.0.1", found.port)
        writer.write(request(CHAT, body("500")))
        await until(lambda: in_tasks() == 1)
        writer.transport.abort()
        await until(lambda: in_tasks() == 0)
        await until(lambda: found.app.metrics.in_flight == 0)


async def test_an_endpoint_that_ends_cuts_off_what_runs_with_a_503() -> None:
    async with running(drain_within=0.1) as found:
        asked = asyncio.create_task(ask(found, request(CHAT, body("sleep"))))
        await until(lambda: found.provider.waiting == 1)
        assert in_tasks() == 0
    assert b'"code":"draining"' in await asked


async def test_a_connection_that_closes_under_a_call_says_so() -> None:
    async with running() as found:
        asked = asyncio.create_task(ask(found, request(CHAT, body("sleep"))))
        await until(lambda: found.provider.waiting == 1)
        await found.llm.close()
        assert b"this connection is closed" in await asked
        assert b"this connection is closed" in await ask(found, request(CHAT, body()))
        assert found.app.metrics.in_flight == 0


async def test_an_error_that_nobody_foresaw_is_said_in_the_normal_way(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running() as found:
        codec = found.llm._services.remote.endpoint("custom").codec  # type: ignore[attr-defined]

        def decode(body: bytes) -> LLMResponse:
            raise LookupError("unforeseen")

        monkeypatch.setattr(codec, "decode", decode)
        assert b'"code":"internal_error"' in await ask(found, request(CHAT, body()))
        assert found.app.metrics.in_flight == 0
        assert found.llm._services.gates.limiter_of("custom").in_flight == 0  # type: ignore[union-attr]


# --- policies ---------------------------------------------------------------------------------------------------------


async def test_failures_open_the_breaker_and_an_answer_closes_it() -> None:
    policies = Policies(retry=RetryOptions(attempts=1), breaker=BreakerOptions(failures=2, cool_down=0.2))
    async with running(policies=policies) as quick, running(at_once=False, policies=policies) as normal:
        both = (quick, normal)
        for _ in range(2):
            assert b" 502 " in await same(both, request(CHAT, body("500")))
        refused = [await ask(way, request(CHAT, body())) for way in both]
        assert all(b"circuit_open" in reply for reply in refused)
        assert quick.llm.breaker_states() == normal.llm.breaker_states() == {"custom/m": "open"}
        await asyncio.sleep(0.3)
        assert b" 200 " in await same(both, request(CHAT, body()))
        assert quick.llm.breaker_states() == {}
        assert b" 200 " in await same(both, request(CHAT, body()))


async def test_limits_that_a_provider_says_are_learnt_and_kept() -> None:
    fields = ["x-ratelimit-limit-requests: 2", "x-ratelimit-remaining-requests: 1", "x-ratelimit-reset-requests: 60s"]
    async with running() as quick, running(at_once=False) as normal:
        for way in (quick, normal):
            way.provider.answers = lambda asked: answer(completion(), 200, *fields)
        both = (quick, normal)
        assert b" 200 " in await same(both, request(CHAT, body()))
        assert books(quick)[4] == (0, True)
        for way in both:
            way.provider.answers = lambda asked: answer(completion(), 200)
        assert b" 200 " in await same(both, request(CHAT, body()))
        late = request(CHAT, body(), "three-mode-within: 0.5")
        assert b" 429 " in await same(both, late)


async def test_a_place_is_waited_for_in_the_normal_way() -> None:
    policies = Policies(retry=RetryOptions(attempts=1), limiter=LimiterOptions(at_once=1))
    async with running(policies=policies) as found:
        first = asyncio.create_task(ask(found, request(CHAT, body("sleep"), "three-mode-within: 0.5")))
        await until(lambda: found.provider.waiting == 1)
        assert b" 200 " in await ask(found, request(CHAT, body()))
        assert b" 504 " in await first


@pytest.mark.parametrize(
    "acting",
    [
        {"policies": Policies(cache=CacheOptions())},
        {"policies": Policies(coalesce=True)},
        {"policies": Policies(hedge=HedgeOptions(after=9))},
        {"observe": Observing(after=lambda reply: reply)},
        {"observe": "records"},
    ],
)
async def test_where_something_acts_on_a_reply_the_normal_way_is_taken(acting: dict[str, Any], tmp_path: Path) -> None:
    if acting.get("observe") == "records":
        acting = {"observe": Observing(records=RecordOptions(path=tmp_path / "calls.jsonl"))}
    policies = acting.pop("policies", ONCE) if "policies" in acting else ONCE
    async with running(policies=policies, connection=acting) as found:
        asked = asyncio.create_task(ask(found, request(CHAT, body("sleep"), "three-mode-within: 0.5")))
        await until(lambda: found.provider.waiting == 1)
        assert in_tasks() == 1
        await asked


async def test_who_listens_is_told_in_the_normal_way() -> None:
    async with running() as found:
        reader = found.app.events.open(["response_complete"])
        try:
            assert b" 200 " in await ask(found, request(CHAT, body()))
            async with asyncio.timeout(10):
                assert json.loads(await reader.get() or b"")["type"] == "response_complete"
        finally:
            found.app.events.close(reader)


async def test_who_reads_the_log_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with running() as found:
        with caplog.at_level(logging.INFO, "three_mode"):
            assert b" 200 " in await ask(found, request(CHAT, body()))
        assert "llm_reply" in caplog.text


async def test_defaults_and_labels_are_those_of_the_normal_way() -> None:
    connection = {
        "options": ConnectionOptions(defaults=RequestDefaults(temperature=0.25)),
        "observe": Observing(label="me"),
    }
    async with (
        running(connection=connection) as quick,
        running(at_once=False, connection=connection) as normal,
    ):
        await same((quick, normal), request(CHAT, body()))
        await same((quick, normal), request(CHAT, body(metadata={"label": "you"})))
        assert quick.provider.seen[-1]["temperature"] == 0.25
        assert [way.llm.spent(label="you").calls for way in (quick, normal)] == [1, 1]
        assert [way.llm.spent(label="me").calls for way in (quick, normal)] == [2, 2]


# --- of a connection by itself ----------------------------------------------------------------------------------------


async def begun(llm: LLMConnection, asked: LLMRequest) -> LLMResponse:
    """The reply to a request that is begun without a task."""
    came: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    assert llm.begin_completion(asked, came.set_result) is not None
    found = await came
    return found if isinstance(found, LLMResponse) else await found()


@pytest.mark.parametrize("provider", ["openai", "anthropic", "gemini"])
@pytest.mark.parametrize("speaks", ["h2", "http/1.1"])
async def test_every_wire_format_over_both_versions_of_http(provider: str, speaks: Any) -> None:
    asked = LLMRequest(model="m", messages=[{"role": "user", "content": "Hello!"}], max_tokens=9)
    async with connected(provider, speaks, policies=ONCE) as (llm, server):
        server.always(Turn())
        assert llm.begin_completion(asked, lambda found: None) is None, "nobody has asked it yet"
        normal = await llm.chat_completion(asked)
        quick = await begun(llm, asked)
        for field in ("parts", "model", "provider", "mode", "usage", "finish_reason", "extra"):
            assert getattr(quick, field) == getattr(normal, field), field
        assert [(step.kind, step.provider, step.model) for step in quick.steps] == [("attempt", provider, "m")]
        assert 0 < quick.latency < 30
        assert (llm.spent().calls, llm.report().total.answered, llm.metrics.snapshot().calls) == (2, 2, 2)


async def test_a_call_that_is_left_is_cancelled_at_the_provider_and_calls_nobody_back() -> None:
    def fails(found: Any) -> None:
        raise AssertionError("nobody waits any more")

    asked = LLMRequest(model="m", messages=[{"role": "user", "content": "Hello!"}])
    async with raw_provider(scripted) as provider, LLMConnection(base_url=provider.url, policies=ONCE) as llm:
        assert llm.begin_completion(asked, fails) is None
        await llm.chat_completion(asked)
        provider.answers = lambda asked: None
        call = llm.begin_completion(asked, fails)
        assert call is not None
        await until(lambda: provider.waiting == 1)
        call.cancel()
        await until(lambda: provider.left == 1)
        assert llm.report().total.cancelled == 1


async def test_a_call_that_ends_while_it_is_sent_is_told_afterwards_unless_it_is_left() -> None:
    asked = LLMRequest(model="m", messages=[{"role": "user", "content": "Hello!"}])
    async with raw_provider(scripted) as provider, LLMConnection(base_url=provider.url, policies=ONCE) as llm:
        await llm.chat_completion(asked)
        endpoint: Any = llm._services.remote.endpoint("custom")
        heard: list[str] = []
        for name in ("waits", "left"):
            sent = endpoint.send(asked, "m", inf, inf)
            sent._exchange.give_up(ConnectionLost("gone"))
            sent.listen(partial(heard.append, name))
            assert name not in heard
            if name == "left":
                sent.cancel()
            await asyncio.sleep(0.01)
        assert heard == ["waits"]


async def test_a_failure_without_a_task_raises_what_the_normal_way_raises() -> None:
    asked = LLMRequest(model="m", messages=[{"role": "user", "content": "Hello!"}])
    async with raw_provider(scripted) as provider, LLMConnection(base_url=provider.url, policies=ONCE) as llm:
        assert llm.begin_completion(asked, print) is None
        await llm.chat_completion(asked)
        provider.answers = lambda asked: answer({"error": {"message": "ouch"}}, 500)
        caught: list[ServerError] = []
        for way in (begun(llm, asked), llm.chat_completion(asked)):
            with pytest.raises(ServerError) as error:
                await way
            caught.append(error.value)
        assert str(caught[0]) == str(caught[1])
        assert all(error.request_id for error in caught)
        assert llm.report().total.errors == {"ServerError": 2}
