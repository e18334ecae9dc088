"""Clients of A2A over gRPC that send nonsense, ask for others' tasks, do not read, or go away."""

import asyncio
from typing import Any

import grpc
import httpx

from tests.support.a2a.calls import VERSION, calls, refusal, said
from tests.support.a2a.cast import Clerk, Parrot, Waiter
from tests.support.a2a.running import message, running
from tests.support.agents.until import until
from tests.support.grpc.raw import call as raw_call
from tests.support.serve.endpoint import endpoint
from three_mode.a2a.protobuf import SERVICE
from three_mode.grpc_messages import a2a_pb2 as pb
from transports.grpc import GrpcStatus, frame

WORKING, FAILED, CANCELED = pb.TASK_STATE_WORKING, pb.TASK_STATE_FAILED, pb.TASK_STATE_CANCELED
SEND = f"/{SERVICE}/SendMessage"


async def test_what_is_no_request_is_refused_by_its_name() -> None:
    async with endpoint(max_body=100_000) as found, calls(found.url) as a2a:
        named = {"tenant": "echo"}
        for metadata in ((), (("a2a-version", "0.3"),), (("a2a-version", "2.0"),)):
            call = a2a.SendMessage(**named, message=said("x"), metadata=metadata)
            assert await refusal(call) == ("FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED", "")
            assert (await refusal(a2a.GetExtendedAgentCard(metadata=metadata)))[1] == "VERSION_NOT_SUPPORTED"
        invalid = "INVALID_ARGUMENT", "INVALID_PARAMS"
        assert await refusal(a2a.SendMessage(**named)) == (*invalid, "")
        assert await refusal(a2a.SendMessage(**named, message=pb.Message(message_id="m"))) == (*invalid, "message")
        agent = pb.Message(message_id="m", role=pb.ROLE_AGENT, parts=[pb.Part(text="x")])
        assert await refusal(a2a.SendMessage(**named, message=agent)) == (*invalid, "message.role")
        nothing = pb.Message(message_id="m", role=pb.ROLE_USER, parts=[pb.Part()])
        assert await refusal(a2a.SendStreamingMessage(**named, message=nothing)) == (*invalid, "message.parts[0]")
        video = pb.Message(message_id="m", role=pb.ROLE_USER, parts=[pb.Part(raw=b"\0", media_type="video/mp4")])
        assert (await refusal(a2a.SendMessage(**named, message=video)))[1] == "CONTENT_TYPE_NOT_SUPPORTED"
        assert await refusal(a2a.ListTasks(**named, page_size=101)) == (*invalid, "pageSize")
        assert (await refusal(a2a.GetTask(**named, id="x")))[:2] == ("NOT_FOUND", "TASK_NOT_FOUND")
        assert (await refusal(a2a.SubscribeToTask(**named, id="x")))[1] == "TASK_NOT_FOUND"
        assert (await refusal(a2a.CreateTaskPushNotificationConfig()))[1] == "PUSH_NOTIFICATION_NOT_SUPPORTED"
        hook = pb.SendMessageConfiguration(task_push_notification_config=pb.TaskPushNotificationConfig(url="http://x"))
        call = a2a.SendMessage(**named, message=said("x"), configuration=hook)
        assert (await refusal(call))[1] == "PUSH_NOTIFICATION_NOT_SUPPORTED"
        assert (await refusal(a2a.GetExtendedAgentCard()))[1] == "UNSUPPORTED_OPERATION"
        assert (await refusal(a2a.GetTask(tenant="nobody", id="x")))[0] == "NOT_FOUND"
        assert (await refusal(a2a.SendMessage(**named, message=said("x" * 200_000))))[0] == "RESOURCE_EXHAUSTED"
        assert not found.backend.seen
        done = (await a2a.SendMessage(message=said("still here"))).task  # the only agent needs no name
        assert done.artifacts[0].parts[0].text == "still here "
        port, version = found.app.options.port, [("a2a-version", "1.0")]
        for garbage in (b"\xff" * 50, b"\x12\x05\x0a\x01", bytes(range(256))):
            answer = await raw_call(port, SEND, [frame(garbage)], headers=version)
            assert answer.status == GrpcStatus.INVALID_ARGUMENT


async def test_an_agent_has_to_be_named_where_there_are_several() -> None:
    async with running(Clerk, Parrot, hosts=0) as found, calls(found.url) as a2a:
        assert (await refusal(a2a.SendMessage(message=said("x"))))[0] == "NOT_FOUND"
        done = await a2a.SendMessage(tenant="parrot", message=said("x"))
        assert done.task.artifacts[0].parts[0].text == "user: x"
        async with httpx.AsyncClient(base_url=found.url, trust_env=False) as http:
            card = (await http.get("/a2a/parrot/.well-known/agent-card.json")).json()
        assert card["supportedInterfaces"][-1] == {
            "url": found.url.removeprefix("http://"),
            "protocolBinding": "GRPC",
            "protocolVersion": "1.0",
            "tenant": "parrot",
        }


async def test_a_task_is_its_owners_alone_in_each_binding() -> None:
    keys = frozenset(("first-key-of-two", "other-key-of-two"))
    first, other = ("authorization", "Bearer first-key-of-two"), ("authorization", "Bearer other-key-of-two")
    async with endpoint(api_keys=keys) as found:
        async with calls(found.url, first) as mine, calls(found.url, other) as others, calls(found.url) as nobody:
            task = (await mine.SendMessage(message=said("mine"))).task
            assert (await mine.GetTask(id=task.id)).status.state == pb.TASK_STATE_COMPLETED
            assert (await refusal(others.GetTask(id=task.id)))[1] == "TASK_NOT_FOUND"
            assert len((await others.ListTasks()).tasks) == 0
            assert (await refusal(nobody.GetTask(id=task.id)))[0] == "UNAUTHENTICATED"
            headers = {"a2a-version": "1.0", "authorization": first[1]}
            async with httpx.AsyncClient(base_url=found.url, headers=headers, trust_env=False) as http:
                seen = (await http.get(f"/a2a/echo/tasks/{task.id}")).json()
            assert seen["artifacts"][0]["parts"][0]["text"] == "mine "


async def test_a_client_that_goes_away_leaves_its_task_and_comes_back() -> None:
    async with running(Waiter, hosts=0) as found, calls(found.url) as a2a:
        stream = a2a.SendStreamingMessage(message=said("x"))
        events = aiter(stream)
        task = (await anext(events)).task
        assert (await anext(events)).status_update.status.state == WORKING
        stream.cancel()
        await until(lambda: found.app.metrics.in_flight == 1)  # the work, and no request
        again = aiter(a2a.SubscribeToTask(id=task.id))
        assert (await anext(again)).task.status.state == WORKING
        assert (await a2a.CancelTask(id=task.id)).status.state == CANCELED
        rest = [event async for event in again]
        assert rest[-1].status_update.status.state == CANCELED
        assert (await refusal(a2a.CancelTask(id=task.id)))[:2] == ("FAILED_PRECONDITION", "TASK_NOT_CANCELABLE")
        assert (await refusal(a2a.SubscribeToTask(id=task.id)))[1] == "UNSUPPORTED_OPERATION"
        await until(lambda: found.app.metrics.in_flight == 0)


async def test_a_deadline_is_that_of_the_task() -> None:
    async with running(Waiter, hosts=0) as found, calls(found.url) as a2a:
        assert (await refusal(a2a.SendMessage(message=said("x"), timeout=0.5)))[0] == "DEADLINE_EXCEEDED"

        async def failed() -> bool:
            (task,) = (await a2a.ListTasks()).tasks
            return bool(task.status.state == FAILED)

        await until(failed)
        await until(lambda: found.app.metrics.in_flight == 0)


async def test_an_endpoint_that_drains_ends_a_stream_with_how_its_task_ended() -> None:
    async with running(Waiter, hosts=0, drain_within=0.3) as found, calls(found.url) as a2a:
        stream = a2a.SendStreamingMessage(message=said("x"))
        events = aiter(stream)
        assert (await anext(events)).HasField("task")
        assert (await anext(events)).status_update.status.state == WORKING
        draining = asyncio.create_task(found.app.drain())
        await asyncio.sleep(0)
        assert (await refusal(a2a.SendMessage(message=said("y"))))[0] == "UNAVAILABLE"
        assert not await draining
        found.app.cut_off()
        (last,) = [event async for event in events]
        assert last.status_update.status.state == FAILED
        assert "shutting down" in last.status_update.status.message.parts[0].text
        assert await stream.code() is grpc.StatusCode.OK
        await until(lambda: found.app.metrics.in_flight == 0)


async def test_a_reader_that_is_slow_loses_nothing() -> None:
    text = " ".join(f"word{number}" for number in range(20_000))
    async with endpoint() as found, calls(found.url) as a2a:
        stream = aiter(a2a.SendStreamingMessage(message=said(text)))
        assert (await anext(stream)).HasField("task")
        listed: list[Any] = []
        while not listed:  # the task is over before its reader has read on
            listed = list((await a2a.ListTasks(status=pb.TASK_STATE_COMPLETED)).tasks)
        events = [event async for event in stream]
        heard = "".join(event.artifact_update.artifact.parts[0].text for event in events[:-1] if _has_text(event))
        assert heard == text + " "
        assert len(events) < 20_000


def _has_text(event: Any) -> bool:
    return bool(event.HasField("artifact_update"))


async def test_all_bindings_see_one_task() -> None:
    async with endpoint() as found, calls(found.url) as a2a:
        headers = dict(VERSION)
        async with httpx.AsyncClient(base_url=found.url, headers=headers, trust_env=False) as http:
            made = (await http.post("/a2a/echo/message:send", json=message("hello"))).json()["task"]
        task = await a2a.GetTask(id=made["id"])
        assert (task.context_id, task.status.timestamp.ToJsonString()) == (
            made["contextId"],
            made["status"]["timestamp"],
        )
