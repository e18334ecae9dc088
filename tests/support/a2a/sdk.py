"""The official SDK as a peer: its server with an agent of its own, and its client."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
import httpx
import uvicorn
from a2a.client import A2ACardResolver, ClientConfig, ClientFactory
from a2a.helpers.proto_helpers import new_text_message, new_text_part
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler, GrpcHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes, create_rest_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import a2a_pb2 as pb
from a2a.types.a2a_pb2_grpc import add_A2AServiceServicer_to_server
from starlette.applications import Starlette

from tests.support.agents.until import until

USER = pb.Role.ROLE_USER


def said(text: str, **fields: Any) -> pb.SendMessageRequest:
    """A message of the SDK's client."""
    return pb.SendMessageRequest(message=new_text_message(text, role=USER, **fields))


@asynccontextmanager
async def sdk_client(url: str, binding: str, streaming: bool = True) -> AsyncIterator[Any]:
    """The SDK's client of the agent at `url`, by one binding."""
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        card = await A2ACardResolver(http, url).get_agent_card()
        config = ClientConfig(
            streaming=streaming,
            httpx_client=http,
            supported_protocol_bindings=[binding],
            grpc_channel_factory=grpc.aio.insecure_channel,
        )
        client = ClientFactory(config).create(card)
        yield client
        await client.close()


@dataclass
class Storyteller(AgentExecutor):
    """An agent on the SDK's server. It answers in pieces, asks for a topic, fails, or never ends, as it is told."""

    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[pb.Message] = field(default_factory=list)

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        text = context.get_user_input()
        assert context.message is not None
        self.seen.append(context.message)
        if text == "message":
            await event_queue.enqueue_event(new_text_message("no task", context_id=context.context_id))
            return
        updater = TaskUpdater(event_queue, context.task_id or "", context.context_id or "")
        if context.current_task is None:
            await event_queue.enqueue_event(
                pb.Task(
                    id=context.task_id,
                    context_id=context.context_id,
                    status=pb.TaskStatus(state=pb.TaskState.TASK_STATE_SUBMITTED),
                    history=[context.message],
                )
            )
        await updater.start_work()
        if text == "ask":
            await updater.requires_input(updater.new_agent_message([new_text_part("About what?")]))
            return
        if text == "fail":
            await updater.failed(updater.new_agent_message([new_text_part("out of ink")]))
            return
        if text == "reject":
            await updater.reject(updater.new_agent_message([new_text_part("not my kind of story")]))
            return
        if text == "forever":
            try:
                await asyncio.sleep(60)
            finally:
                self.cancelled.set()
        for number, word in enumerate(("once ", "upon ", text)):
            await updater.add_artifact([new_text_part(word)], artifact_id="story", append=number > 0)
        await updater.add_artifact([new_text_part("The end.")], artifact_id="end")
        await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()


@asynccontextmanager
async def sdk_server(*bindings: str, streaming: bool = True) -> AsyncIterator[tuple[str, Storyteller]]:
    """The SDK's server with a storyteller, which offers these bindings in this order."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        calls = grpc.aio.server()
        places = {"JSONRPC": url + "/rpc", "HTTP+JSON": url + "/rest"}
        places["GRPC"] = f"127.0.0.1:{calls.add_insecure_port('127.0.0.1:0')}"  # as the SDK's own examples have it
        card = pb.AgentCard(
            name="storyteller",
            description="Tells stories.",
            version="1",
            supported_interfaces=[
                pb.AgentInterface(url=places[each], protocol_binding=each, protocol_version="1.0") for each in bindings
            ],
            capabilities=pb.AgentCapabilities(streaming=streaming),
            default_input_modes=["text/plain"],
            default_output_modes=["text/plain"],
            skills=[pb.AgentSkill(id="tell", name="tell", description="Tells a story.", tags=["story"])],
        )
        agent = Storyteller()
        requests = DefaultRequestHandler(agent_executor=agent, task_store=InMemoryTaskStore(), agent_card=card)
        routes = [
            *create_agent_card_routes(card),
            *create_jsonrpc_routes(requests, "/rpc"),
            *create_rest_routes(requests, path_prefix="/rest"),
        ]
        server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="error", lifespan="off"))
        server.config.load()
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        add_A2AServiceServicer_to_server(GrpcHandler(requests), calls)
        await calls.start()
        try:
            await until(lambda: server.started)
            yield url, agent
        finally:
            server.should_exit = server.force_exit = True
            await serving
            await calls.stop(0)
