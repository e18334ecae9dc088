"""`three-mode serve --grpc` as a process of its own, with a bus; and what it says where it cannot start."""

import json
import signal
import socket

import grpc
import pytest

from tests.support.grpc.stubs import Stub, chat
from tests.support.serve.endpoint import free_port
from tests.support.serve.load import refused, serving
from three_mode import Agent, LLMRequest, LLMResponse, Orchestrator, handler
from three_mode.grpc_messages import agents_pb2, llm_pb2


async def test_models_and_agents_of_a_bus_on_a_port_and_on_a_socket(tmp_path) -> None:
    class Echo(Agent):
        @handler
        async def chat_completion(self, request: LLMRequest) -> LLMResponse:
            return LLMResponse.of(request.messages[-1].text)

        @handler
        async def double(self, number: int) -> int:
            return 2 * number

    port, path = free_port(), tmp_path / "grpc.sock"
    async with Orchestrator(hosts=0) as orc:
        await orc.spawn(Echo, name="echo")
        async with serving(free_port(), "--grpc", str(port), "--bus", orc.name) as process:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
                calls = Stub(channel)
                assert (await calls.ChatCompletion(chat("agent:echo", "hello"))).content == "hello"
                listed = await calls.ListModels(llm_pb2.ListModelsRequest())
                assert "agent:echo" in [model.id for model in listed.models]
                value = agents_pb2.Value(json="[21]")
                asked = agents_pb2.AskRequest(agent="any:echo", handler="double", arguments=value)
                assert json.loads((await calls.Ask(asked)).value.json) == 42
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 0
        async with (
            serving(free_port(), "--grpc", f"unix:{path}", "--bus", orc.name),
            grpc.aio.insecure_channel(f"unix:{path}") as channel,
        ):
            assert (await Stub(channel).ChatCompletion(chat("echo", "hello"))).content == "hello"


@pytest.mark.parametrize(
    ("value", "said"),
    [("0", "a port for gRPC is between 1 and 65535"), ("/run/x.sock", "neither a port nor unix:PATH")],
)
async def test_what_cannot_be_is_said(value: str, said: str) -> None:
    assert said in await refused("--port", str(free_port()), "--grpc", value)


async def test_a_port_that_is_taken_names_the_option() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert "choose another --grpc" in await refused("--port", str(free_port()), "--grpc", str(port))
    assert "answers gRPC already" in await refused("--port", str(port), "--grpc", str(port))
