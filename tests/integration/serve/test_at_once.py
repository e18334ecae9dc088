"""Requests that are answered without a task: the same answers, books and ends as in the normal way."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.agents.until import until
from tests.support.serve.both_ways import (
    CHAT,
    DIFFERS,
    MESSAGES,
    RESPONSES,
    ask,
    in_tasks,
    request,
    whole,
    with_messages,
)
from tests.support.serve.endpoint import free_port
from three_mode import Agent, LLMConnection, LLMRequest, LLMResponse, Orchestrator, Usage, handler
from three_mode.agents.handlers.codec import encode
from three_mode.calls.agent_fast_path import AgentCall
from three_mode.errors import ServerError
from three_mode.messages import Text, ToolCall
from three_mode.serve import App, Connected, ServeOptions, serve
from three_mode.serve.at_once import AtOnceAnswer

VARIES = re.compile(DIFFERS)


class Moody(Agent):
    """Answers as the message says: `fail 2` fails twice and then answers, `sleep` does not answer."""

    def __init__(self) -> None:
        self.failed = self.asleep = self.left = 0

    @handler(concurrent=64)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        word, _, number = request.messages[-1].text.partition(" ")
        if word == "fail" and self.failed < int(number):
            self.failed += 1
            raise ServerError("not now", status=500)
        self.failed = 0
        if word == "sleep":
            self.asleep += 1
            try:
                await asyncio.sleep(30)
            finally:
                self.asleep -= 1
                self.left += 1
        if word == "tool":
            return LLMResponse(parts=(ToolCall("call_1", "add", {"x": 1}),), finish_reason="tool_calls")
        said = f"{word} {len(request.messages)} {request.temperature} {request.max_tokens}"
        return LLMResponse(parts=(Text(said),), model="moody", usage=Usage(3, 4), extra={"seen": request.extra})

    @handler
    def counts(self) -> tuple[int, int]:
        return self.asleep, self.left


class Running(NamedTuple):
    """An endpoint for the agents of a bus."""

    app: App
    port: int


@asynccontextmanager
async def running(city: Orchestrator, at_once: bool = True, **options: Any) -> AsyncIterator[Running]:
    async with LLMConnection(bus=city.bus) as llm:
        app = App(Connected(llm, city.bus), ServeOptions(port=free_port(), **options))
        assert app.at_once is not None
        if not at_once:
            app.at_once = None
        async with serve(app):
            found = Running(app, app.options.port)
            assert b" 200 " in await ask(
                found, request(CHAT, body("first"))
            )  # the way to the agent is known from now on
            yield found


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city() -> AsyncIterator[Orchestrator]:
    async with Orchestrator(hosts=0) as orc:
        await orc.spawn(Moody, name="moody")
        yield orc


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def both(city: Orchestrator) -> AsyncIterator[tuple[Running, Running]]:
    async with running(city) as quick, running(city, at_once=False) as normal:
        yield quick, normal


pytestmark = pytest.mark.asyncio(loop_scope="module")


def body(text: str = "hi", **fields: Any) -> bytes:
    return json.dumps({"model": "agent:moody", "messages": [{"role": "user", "content": text}], **fields}).encode()


async def asleep(city: Orchestrator) -> int:
    found, _ = await city.ref("moody/0").ask(Moody.counts)
    return int(found)


async def is_asleep(city: Orchestrator, count: int) -> None:
    async def so() -> bool:
        return await asleep(city) == count

    await until(so)


# --- the same answers -------------------------------------------------------------------------------------------------

contents = st.sampled_from(["hi", "tool", "fail 1", "", 'é\n"x"', ["a"], [{"type": "text", "text": "part"}], None, 3])
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "system", "assistant", "tool", "robot"]), "content": contents},
        optional={"name": st.sampled_from(["me", 1]), "odd": st.just(1)},
    ),
    max_size=3,
)
options = st.fixed_dictionaries(
    {"model": st.sampled_from(["agent:moody"] * 6 + ["moody", "agent:nobody", "gguf:/etc/passwd", 3])},
    optional={
        "stream": st.sampled_from([False, None, 1]),
        "max_tokens": st.sampled_from([5, 0, "5", None]),
        "temperature": st.sampled_from([0, 1, 0.5, -1, True]),
        "n": st.sampled_from([1, 2, 0]),
        "user": st.just("me"),
        "stop": st.just(["x"]),
        "odd": st.just({"a": 1}),
    },
)
heads = st.lists(
    st.sampled_from(
        [
            "three-mode-within: 5",
            "three-mode-within: x",
            "origin: http://elsewhere",
            "content-type: application/json",
            "content-type: application/grpc+proto",
            "X-Content-Length: 7",
            "connection: close",
            "accept: */*",
        ]
    ),
    max_size=3,
    unique=True,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from([CHAT, CHAT, MESSAGES, RESPONSES, "/v1/nothing"]),
    method=st.sampled_from(["POST"] * 5 + ["PUT"]),
    said=messages,
    fields=options,
    head=heads,
    cut=st.sampled_from([False] * 9 + [True]),
)
async def test_both_ways_answer_the_same(
    both: tuple[Running, Running],
    path: str,
    method: str,
    said: list[Any],
    fields: dict[str, Any],
    head: list[str],
    cut: bool,
) -> None:
    data = json.dumps(with_messages(path, said) | fields).encode()
    asked = request(path, data[:-2] if cut else data, *head, method=method)
    quick, normal = [VARIES.sub(b"", await ask(way, asked)) for way in both]
    assert quick == normal


@pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
async def test_no_task_is_made_for_an_agent_that_is_known(city: Orchestrator, path: str) -> None:
    said = [{"role": "user", "content": "sleep"}]
    data = json.dumps({"model": "agent:moody", "max_tokens": 9, **with_messages(path, said)})
    hi = data.replace('"max_tokens": 9, ', "") if path == RESPONSES else data
    async with running(city) as found:
        assert b" 200 " in await ask(found, request(path, hi.replace("sleep", "hi").encode()))  # a late surface is made
        asked = asyncio.create_task(ask(found, request(path, hi.encode(), "three-mode-within: 3")))
        await is_asleep(city, 1)
        assert in_tasks() == 0
        assert found.app.metrics.in_flight == 1
        assert b" 504 " in await asked
        assert found.app.metrics.in_flight == 0
    await is_asleep(city, 0)


# --- ends -------------------------------------------------------------------------------------------------------------


async def test_a_client_that_goes_away_ends_the_work_of_the_agent(city: Orchestrator) -> None:
    async with running(city) as found:
        _, writer = await asyncio.open_connection("127.0.0.1", found.port)
        writer.write(request(CHAT, body("sleep")))
        await is_asleep(city, 1)
        assert (in_tasks(), found.app.metrics.in_flight) == (0, 1)
        writer.transport.abort()
        await is_asleep(city, 0)
        assert found.app.metrics.in_flight == 0
        assert 'status="499"' in found.app.metrics.text(0, 0).decode()
        assert b" 200 " in await ask(found, request(CHAT, body()))


async def test_a_call_that_fails_goes_on_in_the_normal_way(city: Orchestrator) -> None:
    async with running(city) as found:
        reply = await ask(found, request(CHAT, body("fail 1")))
        assert b" 200 " in reply
        steps = json.loads(reply.partition(b"\r\n\r\n")[2])["three_mode"]["steps"]
        assert [step["kind"] for step in steps] == ["attempt", "retry", "attempt"]
        assert b" 502 " in await ask(found, request(CHAT, body("fail 9"), "three-mode-within: 5"))
        assert found.app.metrics.in_flight == 0
        await ask(found, request(CHAT, body("reset")))


async def test_a_client_that_goes_away_while_a_failed_call_is_tried_again(city: Orchestrator) -> None:
    async with running(city) as found:
        _, writer = await asyncio.open_connection("127.0.0.1", found.port)
        writer.write(request(CHAT, body("fail 900")))
        await until(lambda: in_tasks() == 1)
        writer.transport.abort()
        await until(lambda: in_tasks() == 0)
        await until(lambda: found.app.metrics.in_flight == 0)


async def test_a_body_that_follows_its_head_is_waited_for_a_moment_and_no_longer(city: Orchestrator) -> None:
    async with running(city) as found:
        for pause, tasks in ((0.0, 0), (0.3, 1)):
            reader, writer = await asyncio.open_connection("127.0.0.1", found.port)
            writer.write(request(CHAT, body()))
            assert b" 200 " in await whole(reader)
            head, _, said = request(CHAT, body("sleep")).partition(b"\r\n\r\n")
            writer.write(head + b"\r\n\r\n")
            await asyncio.sleep(pause)
            writer.write(said)
            await is_asleep(city, 1)
            assert in_tasks() == tasks
            writer.transport.abort()
            await is_asleep(city, 0)
        refused = request(CHAT, body("hi"), "three-mode-within: x").partition(b"{")[0]
        assert b" 400 " in await ask(found, refused), "nobody waits for the body of what is refused"


async def test_requests_that_are_sent_ahead_are_answered_in_order(city: Orchestrator) -> None:
    async with running(city) as found:
        reader, writer = await asyncio.open_connection("127.0.0.1", found.port)
        words = ["a", "bcd", "tool", "efghi"]
        writer.write(b"".join(request(CHAT, body(word)) for word in words))
        replies = [json.loads((await whole(reader)).partition(b"\r\n\r\n")[2]) for _ in words]
        said = [reply["choices"][0]["message"]["content"] for reply in replies]
        assert said == ["a 1 None None", "bcd 1 None None", None, "efghi 1 None None"]
        writer.close()


@pytest.mark.parametrize(
    ("path", "fields", "field"),
    [
        (
            CHAT,
            {"response_format": {"type": "json_schema", "json_schema": 5}},
            b"response_format.json_schema",
        ),
        (RESPONSES, {"tool_choice": {"type": "allowed_tools", "tools": 5}}, b"tool_choice.tools"),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused_in_its_turn(
    city: Orchestrator, path: str, fields: dict[str, Any], field: bytes
) -> None:
    said = with_messages(path, [{"role": "user", "content": "hi"}])
    bad = request(path, json.dumps({"model": "agent:moody", **said, **fields}).encode())
    async with running(city) as found:
        reply = await ask(found, bad)
        assert b" 400 " in reply
        assert field in reply
        reader, writer = await asyncio.open_connection("127.0.0.1", found.port)
        writer.write(request(CHAT, body("first")) + bad + request(CHAT, body("last")))
        async with asyncio.timeout(20):
            replies = [await whole(reader) for _ in range(3)]
        assert [b" 200 " in replies[0], b" 400 " in replies[1], b" 200 " in replies[2]] == [True, True, True]
        assert field in replies[1]
        writer.close()


async def test_an_error_that_nobody_foresaw_leaves_the_request_to_the_normal_way(city: Orchestrator) -> None:
    def begin(*asked: Any) -> None:
        raise LookupError("unforeseen")

    async with running(city) as found:
        found.app.endpoint.begin_completion = begin
        assert b" 200 " in await ask(found, request(CHAT, body()))
        assert found.app.metrics.in_flight == 0


NESTED = encode(LLMResponse(parts=(Text("x"),), extra={"x": "here"})).replace(b"\xa4here", b"\x91" * 5_000 + b"\xc0")


@pytest.mark.parametrize(
    ("given", "code"), [(SimpleNamespace(raw=NESTED), b"agent_failed"), (object(), b"internal_error")]
)
async def test_who_waits_for_an_answer_that_cannot_be_read_is_told(city: Orchestrator, given: Any, code: bytes) -> None:
    async with running(city) as found:
        asked = asyncio.create_task(ask(found, request(CHAT, body("sleep"), "three-mode-within: 3")))
        await is_asleep(city, 1)
        (waiting,) = found.app.endpoint._running
        assert isinstance(waiting, AtOnceAnswer)
        call = waiting.call
        assert isinstance(call, AgentCall)
        assert call.asked is not None
        assert call.asked.cancel()
        call.done(given)
        assert b'"code":"%b"' % code in await asked
        assert found.app.metrics.in_flight == 0
    await is_asleep(city, 0)


async def test_an_answer_that_was_left_to_the_normal_way_is_left_there_once(city: Orchestrator) -> None:
    async def goes_on() -> LLMResponse:
        raise AssertionError("it ends with the endpoint")

    async with running(city, drain_within=0.1) as found:
        asked = asyncio.create_task(ask(found, request(CHAT, body("sleep"))))
        await is_asleep(city, 1)
        (waiting,) = found.app.endpoint._running
        assert isinstance(waiting, AtOnceAnswer)
        assert isinstance(waiting.call, AgentCall)
        assert waiting.call.asked is not None
        assert waiting.call.asked.cancel()
        waiting.done(goes_on)
        found.app.cut_off()
        assert in_tasks() == 1
        reply = await asked
        assert b" 503 " in reply
        assert b'"code":"draining"' in reply
        assert found.app.metrics.in_flight == 0
    await is_asleep(city, 0)


async def test_an_endpoint_that_ends_cuts_off_what_runs_with_a_503(city: Orchestrator) -> None:
    async with running(city, drain_within=0.1) as found:
        asked = [
            asyncio.create_task(ask(found, request(path, body("sleep", max_tokens=3)))) for path in (CHAT, MESSAGES)
        ]
        await is_asleep(city, 2)
        assert in_tasks() == 0
    chat, messages = await asyncio.gather(*asked)
    assert b" 503 " in chat
    assert b'"code":"draining"' in chat
    assert b'{"type":"error"' in messages.replace(b" ", b"")
    await is_asleep(city, 0)


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_there_is_room_for_so_many_requests(city: Orchestrator) -> None:
    async with running(city, max_in_flight=2) as found:
        writers = [(await asyncio.open_connection("127.0.0.1", found.port))[1] for _ in range(2)]
        for writer in writers:
            writer.write(request(CHAT, body("sleep")))
        await is_asleep(city, 2)
        assert b" 503 " in await ask(found, request(CHAT, body()))
        for writer in writers:
            writer.close()
        await is_asleep(city, 0)
        assert b" 200 " in await ask(found, request(CHAT, body()))


async def test_a_body_that_is_too_long_and_one_that_is_read_beside_the_loop(city: Orchestrator) -> None:
    async with running(city, max_body=200_000) as found:
        assert b" 200 " in await ask(found, request(CHAT, body("x" * 150_000)))
        assert b" 413 " in await ask(found, request(CHAT, body("x" * 200_000)))
        assert b" 200 " in await ask(found, request(CHAT, body("x" * 1_000)))


async def test_a_key_is_looked_at_whatever_was_answered_before(city: Orchestrator) -> None:
    async with LLMConnection(bus=city.bus) as llm:
        app = App(Connected(llm, city.bus), ServeOptions(port=free_port(), api_keys=frozenset({"right"})))
        async with serve(app):
            found = Running(app, app.options.port)
            for key, status in (("right", b" 200 "), ("wrong", b" 401 "), ("right", b" 200 "), ("righT", b" 401 ")):
                for _ in range(2):
                    assert status in await ask(found, request(CHAT, body(), f"authorization: Bearer {key}"))
            assert b" 401 " in await ask(found, request(CHAT, body()))


@pytest.mark.parametrize("more", [{"access_log": "short"}, {"behind_proxy": True, "api_keys": frozenset({"k"})}])
async def test_where_each_request_is_looked_at_none_is_answered_at_once(
    city: Orchestrator, more: dict[str, Any]
) -> None:
    async with LLMConnection(bus=city.bus) as llm:
        assert App(Connected(llm, city.bus), ServeOptions(port=free_port(), **more)).at_once is None


async def test_who_watches_is_told(city: Orchestrator) -> None:
    async with running(city) as found:
        reader = found.app.events.open(["response_complete"])
        try:
            assert b" 200 " in await ask(found, request(CHAT, body()))
            async with asyncio.timeout(10):
                told = json.loads(await reader.get() or b"")
            assert told["type"] == "response_complete"
        finally:
            found.app.events.close(reader)
