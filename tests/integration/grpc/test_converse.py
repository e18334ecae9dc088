"""`Converse` by grpcio: turns, results of tools, cancels while chunks come, errors that end a turn and not the call."""

import asyncio

import grpc
import pytest

from tests.support.grpc.stubs import chat, end_of, stub
from tests.support.serve.endpoint import endpoint
from three_mode.grpc_messages import llm_pb2 as pb
from three_mode.grpc_messages.errors import read_detail


def say(text: str) -> pb.ConverseInput:
    return pb.ConverseInput(say=pb.Message(role="user", content=text))


def result(call_id: str, text: str) -> pb.ConverseInput:
    return pb.ConverseInput(tool_result=pb.ToolResult(call_id=call_id, content=text))


CANCEL = pb.ConverseInput(cancel=pb.Cancel())


class Talk:
    """One call, read turn by turn."""

    def __init__(self, calls) -> None:
        self.call = calls.Converse(timeout=60)

    async def send(self, *inputs: pb.ConverseInput) -> None:
        for item in inputs:
            await self.call.write(item)

    async def turn(self) -> tuple[int, str, str]:
        """Its number, its text, and how it ended."""
        text = ""
        while True:
            output = await self.call.read()
            assert output is not grpc.aio.EOF
            if output.HasField("error"):
                return output.turn, text, str(read_detail(output.error))
            text += output.chunk.content
            if output.chunk.HasField("finish"):
                return output.turn, text, output.chunk.finish.reason


@pytest.fixture
async def running():
    async with endpoint() as found:
        yield found


@pytest.fixture
async def talk(running):
    async with stub(running.url) as calls:
        yield Talk(calls)


async def test_turns_remember_what_was_said(running, talk) -> None:
    await talk.send(pb.ConverseInput(open=chat("echo", "one", temperature=0)))
    assert await talk.turn() == (1, "one ", "stop")
    await talk.send(say("two"), say("three"))
    assert await talk.turn() == (2, "two ", "stop")
    assert await talk.turn() == (3, "three ", "stop")
    await talk.call.done_writing()
    assert await talk.call.read() is grpc.aio.EOF
    assert await talk.call.code() is grpc.StatusCode.OK
    last = running.backend.seen[-1]
    assert [(message.role, message.text) for message in last.messages] == [
        ("user", "one"),
        ("assistant", "one "),
        ("user", "two"),
        ("assistant", "two "),
        ("user", "three"),
    ]
    assert last.temperature == 0


async def test_a_conversation_that_opens_without_a_question(running, talk) -> None:
    await talk.send(
        pb.ConverseInput(
            open=pb.ChatRequest(model="echo", messages=[pb.Message(role="system", content="You are brief.")])
        ),
        say("hello"),
    )
    assert await talk.turn() == (1, "hello ", "stop")
    assert [message.role for message in running.backend.seen[0].messages] == ["system", "user"]


async def test_the_model_goes_on_when_each_call_has_its_result(running, talk) -> None:
    await talk.send(pb.ConverseInput(open=chat("tool")))
    assert await talk.turn() == (1, "", "tool_calls")
    await talk.send(result("call_a", "3"))
    await talk.send(say("too early"))
    number, _, ended = await talk.turn()
    assert number == 1
    assert "call_b have no result" in ended
    await talk.send(result("call_x", "?"))
    assert "no call 'call_x' waits" in (await talk.turn())[2]
    await talk.send(result("call_b", "4"))
    assert (await talk.turn())[0] == 2
    roles = [(message.role, len(message.parts)) for message in running.backend.seen[-1].messages]
    assert roles == [("user", 1), ("assistant", 2), ("tool", 2)]


async def test_a_cancel_ends_the_answer_and_the_conversation_goes_on(running, talk) -> None:
    await talk.send(pb.ConverseInput(open=chat("forever")))
    while not (await talk.call.read()).chunk.content:
        pass
    await talk.send(CANCEL)
    assert (await talk.turn())[2] == "cancelled"
    async with asyncio.timeout(10):
        await running.backend.cancelled.wait()
    await talk.send(say("again"))
    while not (await talk.call.read()).chunk.content:
        pass
    kept = running.backend.seen[-1].messages
    assert [message.role for message in kept] == ["user", "assistant", "user"]
    assert kept[1].text.startswith("on ")  # as far as it came
    talk.call.cancel()


async def test_an_answer_that_fails_is_an_error_of_its_turn(talk) -> None:
    await talk.send(pb.ConverseInput(open=chat("overloaded")))
    assert await talk.turn() == (1, "", "the mailbox is full")
    await talk.send(say("again"))
    assert await talk.turn() == (2, "", "the mailbox is full")


@pytest.mark.parametrize("said_all", [False, True])
async def test_leaving_ends_the_model(running, talk, said_all) -> None:
    await talk.send(pb.ConverseInput(open=chat("forever")))
    if said_all:
        await talk.call.done_writing()
    while not (await talk.call.read()).chunk.content:
        pass
    talk.call.cancel()
    async with asyncio.timeout(10):
        await running.backend.cancelled.wait()
        while running.app.metrics.in_flight:  # noqa: ASYNC110  (the endpoint has no hook to wait on)
            await asyncio.sleep(0.01)


async def test_the_first_input_opens_it(running) -> None:
    async with stub(running.url) as calls:
        code, text, _ = await end_of(calls.Converse(iter([say("hello")])))
        assert code is grpc.StatusCode.INVALID_ARGUMENT
        assert "opens the conversation" in text


async def test_more_inputs_than_may_wait_end_the_call(running) -> None:
    async def inputs():
        yield pb.ConverseInput(open=chat("forever"))
        for _ in range(65):
            yield say("and")
        await asyncio.Event().wait()

    async with stub(running.url) as calls:
        code, _, _ = await end_of(calls.Converse(inputs(), timeout=60))
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED


async def test_a_conversation_has_a_bound_and_so_have_all_together() -> None:
    async with endpoint(max_body=2_000, max_bodies=3_000) as found, stub(found.url) as calls:
        first = Talk(calls)
        await first.send(pb.ConverseInput(open=chat("echo", "x" * 700)))
        assert (await first.turn())[2] == "stop"
        await first.send(say("y" * 1_900))
        assert "at most" in (await first.turn())[2]
        await first.send(say("z"))  # and it goes on
        assert (await first.turn())[2] == "stop"

        async def inputs():
            yield pb.ConverseInput(open=chat("echo", "x" * 1_700))
            await asyncio.Event().wait()

        code, _, _ = await end_of(calls.Converse(inputs(), timeout=60))
        assert code is grpc.StatusCode.UNAVAILABLE
        first.call.cancel()
        async with asyncio.timeout(10):
            while found.app.metrics.in_flight:  # noqa: ASYNC110  (the endpoint has no hook to wait on)
                await asyncio.sleep(0.01)
        second = Talk(calls)
        await second.send(pb.ConverseInput(open=chat("echo", "x" * 900)))
        assert (await second.turn())[2] == "stop"
        second.call.cancel()


async def test_a_pause_is_no_slow_body(monkeypatch) -> None:
    """A server limits how slowly a body comes; one side of a conversation has pauses."""
    from three_mode.serve import server

    made = server._server_options
    monkeypatch.setattr(server, "_server_options", lambda options: server.replace(made(options), body_grace=0.2))
    async with endpoint() as found, stub(found.url) as calls:
        talk = Talk(calls)
        await talk.send(pb.ConverseInput(open=chat("echo", "one")))
        assert (await talk.turn())[1] == "one "
        await asyncio.sleep(0.8)  # longer than the server waits for a body
        await talk.send(say("two"))
        assert (await talk.turn())[1] == "two "
        talk.call.cancel()


async def test_a_conversation_lasts_as_long_as_it_may(running) -> None:
    async def inputs():
        yield pb.ConverseInput(open=chat("echo", "one"))
        await asyncio.Event().wait()

    async with endpoint(longest_within=0.3) as found, stub(found.url) as calls:
        code, _, count = await end_of(calls.Converse(inputs()))
    assert (code, count) == (grpc.StatusCode.DEADLINE_EXCEEDED, 4)


async def test_the_end_of_the_endpoint_ends_what_only_waits() -> None:
    async with endpoint() as found, stub(found.url) as calls:

        async def inputs():
            yield pb.ConverseInput(open=chat("echo", "one"))
            await asyncio.Event().wait()

        ending = asyncio.ensure_future(end_of(calls.Converse(inputs(), timeout=60)))
        async with asyncio.timeout(20):
            while not found.backend.seen:  # noqa: ASYNC110  (the model has no hook to wait on)
                await asyncio.sleep(0.01)
        assert await found.app.drain()
        code, _, count = await ending
        assert (code, count) == (grpc.StatusCode.UNAVAILABLE, 4)  # the answer was whole
