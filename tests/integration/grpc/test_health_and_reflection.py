"""What probes and grpcurl speak, by the stubs that grpcio brings for both."""

import asyncio

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from tests.support.grpc.stubs import Stub, chat
from tests.support.serve.endpoint import endpoint
from three_mode.grpc_messages import reflection_pb2 as ours

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


@pytest.fixture
async def running():
    async with endpoint(api_keys=frozenset({"k"})) as found:
        yield found


@pytest.fixture
async def channel(running):
    async with grpc.aio.insecure_channel(running.url.removeprefix("http://")) as found:
        yield found


async def test_a_probe_needs_no_key(channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for service in ("", "three_mode.v1.LLMService", "three_mode.v1.AgentService", "LLMService"):
        reply = await health.Check(health_pb2.HealthCheckRequest(service=service))
        assert reply.status == SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health.Check(health_pb2.HealthCheckRequest(service="nothing"))
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_who_watches_hears_that_it_goes_down(running, channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    watch = health.Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == SERVING
    unknown = health.Watch(health_pb2.HealthCheckRequest(service="nothing"))
    assert (await unknown.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    assert await running.app.drain()
    assert (await watch.read()).status == NOT_SERVING
    assert (await health.Check(health_pb2.HealthCheckRequest())).status == NOT_SERVING


async def test_a_watch_that_is_left_is_forgotten(running, channel) -> None:
    watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
    assert (await watch.read()).status == SERVING
    watch.cancel()
    async with asyncio.timeout(10):
        while running.app.metrics.in_flight:  # noqa: ASYNC110  (the endpoint has no hook to wait on)
            await asyncio.sleep(0.01)
    assert not running.app.endpoint.at_drain


async def test_reflection_lists_the_services_and_says_what_they_take() -> None:
    def look(address: str) -> tuple[list[str], str]:
        with grpc.insecure_channel(address) as channel:
            found = ProtoReflectionDescriptorDatabase(channel)  # v1alpha, as older tools speak it
            pool = descriptor_pool.DescriptorPool(found)
            method = pool.FindServiceByName("three_mode.v1.LLMService").FindMethodByName("StreamingChat")
            return list(found.get_services()), method.output_type.full_name

    async with endpoint() as found:
        services, answer = await asyncio.to_thread(look, found.url.removeprefix("http://"))
    assert set(services) >= {
        "three_mode.v1.LLMService",
        "three_mode.v1.AgentService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    }
    assert answer == "three_mode.v1.ChatChunk"


async def test_the_newer_version_of_reflection() -> None:
    async with endpoint() as found, grpc.aio.insecure_channel(found.url.removeprefix("http://")) as channel:
        inform = channel.stream_stream(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
            request_serializer=ours.ServerReflectionRequest.SerializeToString,
            response_deserializer=ours.ServerReflectionResponse.FromString,
        )
        asked = [
            ours.ServerReflectionRequest(host="h", file_containing_symbol="grpc.reflection.v1alpha.ServerReflection"),
            ours.ServerReflectionRequest(file_by_filename="three_mode/v1/agents.proto"),
            ours.ServerReflectionRequest(file_by_filename="nothing.proto"),
            ours.ServerReflectionRequest(all_extension_numbers_of_type="three_mode.v1.Message"),
            ours.ServerReflectionRequest(),
        ]
        older, agents, missing, extensions, nothing = [answer async for answer in inform(iter(asked))]
    file = descriptor_pb2.FileDescriptorProto.FromString(older.file_descriptor_response.file_descriptor_proto[0])
    assert (older.valid_host, file.package) == ("h", "grpc.reflection.v1alpha")
    assert len(agents.file_descriptor_response.file_descriptor_proto) == 1
    assert missing.error_response.error_code == 5
    assert extensions.all_extension_numbers_response.base_type_name == "three_mode.v1.Message"
    assert nothing.error_response.error_code == 5


async def test_reflection_needs_the_key(running) -> None:
    def refused() -> grpc.StatusCode:
        with grpc.insecure_channel(running.url.removeprefix("http://")) as channel:
            stub = reflection_pb2_grpc.ServerReflectionStub(channel)
            call = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
            with pytest.raises(grpc.RpcError) as caught:
                list(call)
            return caught.value.code()

    assert await asyncio.to_thread(refused) is grpc.StatusCode.UNAUTHENTICATED


async def test_other_requests_are_told_to_speak_grpc(running) -> None:
    import httpx

    async with httpx.AsyncClient(headers={"authorization": "Bearer k"}) as client:
        reply = await client.post(f"{running.url}/three_mode.v1.LLMService/ChatCompletion", json={})
        assert reply.status_code == 415
    async with grpc.aio.insecure_channel(running.url.removeprefix("http://")) as channel:
        reply = await Stub(channel).ChatCompletion(chat("echo"), metadata=(("authorization", "Bearer k"),))
        assert reply.content == "good day "
