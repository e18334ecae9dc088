"""`AgentService` by grpcio: a program that is not Python is on the bus."""

import asyncio
import json

import grpc
import msgspec
import pytest

from tests.support.grpc.stubs import stub
from tests.support.serve.endpoint import endpoint
from three_mode import Agent, Orchestrator, handler, on
from three_mode.grpc_messages import agents_pb2 as pb


@pytest.fixture
async def city():
    class Scout(Agent):
        def __init__(self):
            self.seen, self.left = [], asyncio.Event()

        @handler
        async def score(self, text: str, bias: float = 0.0) -> float:
            return len(text) + bias

        @handler
        async def count(self, to: int):
            for number in range(to):
                yield {"number": number}

        @handler
        async def wait(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                left.set()

        @handler
        async def fail(self) -> None:
            raise ValueError("a secret path /srv/x")

        @on("news.*")
        def read(self, item: dict):
            seen.append(item)

    seen, left = [], asyncio.Event()
    async with Orchestrator(hosts=0) as orc:
        await orc.spawn(Scout, 3, name="scout")
        async with endpoint(agents=orc) as found, stub(found.url) as calls:
            yield calls, seen, left


def ask(name: str, arguments: object = None, agent: str = "scout/1", **fields) -> pb.AskRequest:
    value = None if arguments is None else pb.Value(json=json.dumps(arguments))
    return pb.AskRequest(agent=agent, handler=name, arguments=value, **fields)


def call_with(arguments: pb.Value) -> pb.AskRequest:
    return pb.AskRequest(agent="scout/1", handler="score", arguments=arguments)


async def failed(call) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value


async def test_ask_by_name_by_position_and_by_role(city) -> None:
    calls, _, _ = city
    assert json.loads((await calls.Ask(ask("score", {"text": "hello", "bias": 0.5}))).value.json) == 5.5
    assert json.loads((await calls.Ask(ask("score", ["hi"]))).value.json) == 2.0
    assert json.loads((await calls.Ask(ask("score", ["hi"], agent="any:scout"))).value.json) == 2.0
    packed = pb.Value(msgpack=msgspec.msgpack.encode(["abc"]))
    reply = await calls.Ask(pb.AskRequest(agent="scout/0", handler="score", arguments=packed))
    assert msgspec.msgpack.decode(reply.value.msgpack) == 3.0


async def test_stream_tell_and_broadcast(city) -> None:
    calls, seen, _ = city
    parts = [json.loads(part.value.json) async for part in calls.Stream(ask("count", {"to": 3}))]
    assert parts == [{"number": 0}, {"number": 1}, {"number": 2}]
    await calls.Tell(ask("read", {"item": {"id": 1}}))
    reply = await calls.Broadcast(pb.BroadcastRequest(topic="news.eu", item=pb.Value(json='{"id":2}'), within=5))
    assert (reply.seen, reply.lagging, reply.lost, reply.dead) == (3, 0, 0, 0)
    assert sorted(item["id"] for item in seen) == [1, 2, 2, 2]


async def test_a_cancel_ends_the_handler(city) -> None:
    calls, _, left = city
    call = calls.Ask(ask("wait"))
    done, _ = await asyncio.wait([asyncio.ensure_future(call)], timeout=0.3)
    assert not done
    call.cancel()
    async with asyncio.timeout(10):
        await left.wait()


async def test_a_deadline_is_that_of_the_handler(city) -> None:
    calls, _, left = city
    assert (await failed(calls.Ask(ask("wait", within=0.2)))).code() is grpc.StatusCode.DEADLINE_EXCEEDED
    async with asyncio.timeout(10):
        await left.wait()


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (ask("score", {"text": 3}), grpc.StatusCode.INVALID_ARGUMENT),
        (ask("score", "text"), grpc.StatusCode.INVALID_ARGUMENT),
        (ask("score", {"text": "x", "within": 1}), grpc.StatusCode.INVALID_ARGUMENT),
        (ask("", ["x"]), grpc.StatusCode.INVALID_ARGUMENT),
        (ask("nothing", ["x"]), grpc.StatusCode.NOT_FOUND),
        (ask("score", ["x"], agent="scout/99"), grpc.StatusCode.NOT_FOUND),
        (ask("score", ["x"], agent="any:nobody"), grpc.StatusCode.NOT_FOUND),
        (ask("spawn", ["x"], agent="orchestrator"), grpc.StatusCode.NOT_FOUND),
        (ask("spawn", ["x"], agent="host:host-1"), grpc.StatusCode.INVALID_ARGUMENT),
        (ask("score", ["x"], agent=""), grpc.StatusCode.INVALID_ARGUMENT),
        (ask("score", ["x"], within=-1), grpc.StatusCode.INVALID_ARGUMENT),
        (call_with(pb.Value(json="{")), grpc.StatusCode.INVALID_ARGUMENT),
        (call_with(pb.Value(msgpack=b"\xc1")), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_what_cannot_be_called(city, request_, code) -> None:
    calls, _, _ = city
    assert (await failed(calls.Ask(request_))).code() is code


async def test_an_error_of_a_handler_keeps_its_traceback_here(city) -> None:
    calls, _, _ = city
    error = await failed(calls.Ask(ask("fail")))
    assert error.code() is grpc.StatusCode.UNKNOWN
    assert "Traceback" not in str(error.trailing_metadata())


async def test_an_endpoint_without_a_bus_says_so() -> None:
    async with endpoint() as found, stub(found.url) as calls:
        error = await failed(calls.Ask(ask("score", ["x"])))
        assert error.code() is grpc.StatusCode.UNAVAILABLE
        assert "--bus" in (error.details() or "")
