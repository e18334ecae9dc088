"""Every door of the endpoint by which a client names a model: none opens a file or an address, and each says so in its
own shape, in the same words, whether the file is there or not.
"""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from local_models.files.catalogue import TINY
from tests.support.grpc.stubs import Stub, chat, stub
from tests.support.serve.endpoint import Scripted, endpoint, free_port
from three_mode import Agent, LLMConnection, LLMRequest, Orchestrator, handler
from three_mode.connection import ConnectionOptions
from three_mode.conversations import Conversations
from three_mode.errors import PermissionDenied
from three_mode.grpc_messages import agents_pb2
from three_mode.grpc_messages import llm_pb2 as pb
from three_mode.messages import LLMResponse
from three_mode.serve import App, Connected, ServeOptions, serve
from three_mode.serve.conversations import ConversationBackend
from three_mode.testing import ScriptedProvider

TEXT = [{"role": "user", "content": "Hello!"}]
# Path -> the body but for its model.
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": TEXT, "max_tokens": 1},
    "/v1/responses": {"input": "Hello!", "max_output_tokens": 1, "store": False},
    "/v1/messages": {"messages": TEXT, "max_tokens": 1},
    "/v1/messages/count_tokens": {"messages": TEXT},
    "/v1/embeddings": {"input": "Hello!"},
    "/v1/completions": {"prompt": "Hello!", "max_tokens": 1},
    "/v1/rerank": {"query": "Hello!", "documents": ["Hello!"]},
    "/v1/reranking": {"query": "Hello!", "documents": ["Hello!"]},
    "/rerank": {"query": "Hello!", "documents": ["Hello!"]},
}
STREAMED = ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/v1/completions")
WHAT = "clients of this endpoint may not name files or addresses as models"


@pytest.fixture
async def inner() -> AsyncIterator[ScriptedProvider]:
    """A service that only this machine reaches."""
    async with ScriptedProvider("http/1.1") as server:
        yield server


@pytest.fixture
async def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """An endpoint that keeps conversations, and has no provider."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    port, options = free_port(), ConnectionOptions(detection_order=("openai",))
    async with LLMConnection(options=options) as llm, Conversations(tmp_path / "talks.db", llm) as talks:
        app = App(ConversationBackend(Connected(llm), talks), ServeOptions(port=port))
        async with serve(app):
            yield f"http://127.0.0.1:{port}"


@pytest.fixture
async def http(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url, timeout=30) as client:
        yield client


def names(there: Path, inner: ScriptedProvider) -> list[str]:
    """A file that is there, under many names; files that are not; addresses."""
    elsewhere = there.with_name("nothing")
    return [
        f"gguf:{there}",
        f"gguf:{elsewhere}",
        f"gguf:{there.parent}/../{there.parent.name}/{there.name}",
        f"hf:{there.parent}",
        "hf:no-such/repository",
        str(TINY),
        "../tiny.gguf",
        "~/tiny.GGUF",
        f"file://{there}",
        f"file:{there}",
        f"{inner.url}/v1#m",
        "grpc://127.0.0.1:9#m",
        "unix:///run/x.gguf",
    ]


@pytest.fixture
def there(tmp_path: Path) -> Path:
    (tmp_path / "brain").write_bytes(TINY.read_bytes())
    return tmp_path / "brain"


# A body that names no model; and MCP, whose tool for models goes by the same rule: tests/integration/mcp.
PAGE = {"/", "/page/session", "/page/about", "/page/steer"}
NO_DOORS = {"/v1/conversations", "/mcp", "/a2a", "/.well-known/agent-card.json", *PAGE}


def test_every_path_that_takes_a_body_is_tried_here() -> None:
    """A new one belongs into BODIES, or with those that name no model."""
    paths = {route.path for route in App(Scripted())._routes if route.method in ("", "POST")}
    assert paths - NO_DOORS == set(BODIES)


@pytest.mark.parametrize("path", BODIES)
async def test_a_door_of_http(http: httpx.AsyncClient, inner: ScriptedProvider, there: Path, path: str) -> None:
    said = set()
    for name in names(there, inner):
        for stream in {False, path in STREAMED}:
            reply = await http.post(path, json={**BODIES[path], "model": name} | ({"stream": True} if stream else {}))
            error = reply.json()["error"]
            assert (reply.status_code, error["type"]) == (403, "permission_error"), name
            said.add(error["message"])
    assert len(said) == 1
    assert said.pop().startswith(WHAT)
    assert not inner.seen


@pytest.mark.parametrize("path", BODIES)
async def test_a_name_that_nothing_has_is_not_found_at_once(http: httpx.AsyncClient, path: str) -> None:
    """Without a provider there is nobody else to ask."""
    for name in ("nothing", "anthropic/claude-sonnet-4-5", "agent:nobody", "any:nobody@host"):
        reply = await http.post(path, json={**BODIES[path], "model": name})
        error = reply.json()["error"]
        assert (reply.status_code, error["code"]) == (404, "model_not_found"), name
        assert error["type"] == "not_found_error"


async def test_a_conversation_is_no_door(http: httpx.AsyncClient, inner: ScriptedProvider, there: Path) -> None:
    kept = (await http.post("/v1/conversations", json={})).json()["id"]
    for name in names(there, inner):
        body = {**BODIES["/v1/chat/completions"], "model": name, "three_mode.conversation": kept}
        for stream in (False, True):
            reply = await http.post("/v1/chat/completions", json={**body, "stream": stream})
            assert reply.status_code == 403, name
        kept_response = {"input": "x", "model": name, "conversation": kept}
        assert (await http.post("/v1/responses", json=kept_response)).status_code == 403, name
    assert (await http.get(f"/v1/conversations/{kept}/items")).json()["data"] == []


async def test_the_list_tells_of_no_file(http: httpx.AsyncClient, there: Path) -> None:
    for name in (f"gguf:{there}", str(there), f"gguf:{there}x", f"{there}x"):
        assert (await http.get(f"/v1/models/{name}")).status_code == 404


async def drained(call: Any) -> None:
    """Reads a call to its end, whole or streamed."""
    if isinstance(call, grpc.aio.UnaryStreamCall):
        async for _ in call:
            pass
    else:
        await call


async def ended(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await drained(call)
    return caught.value.code(), caught.value.details() or ""


def calls_of(calls: Stub, **fields: Any) -> list[Any]:
    asked = chat(fields.pop("model"), **fields)
    return [calls.ChatCompletion(asked), calls.StreamingChat(asked)]


async def test_a_door_of_grpc(url: str, inner: ScriptedProvider, there: Path) -> None:
    async with stub(url) as calls:
        said = set()
        for name in names(there, inner):
            embedding = calls.Embed(pb.EmbedRequest(model=name, texts=["x"]))
            for call in (*calls_of(calls, model=name), embedding):
                status, text = await ended(call)
                assert status is grpc.StatusCode.PERMISSION_DENIED, name
                said.add(text)
        assert len(said) == 1
        for call in calls_of(calls, model="nothing"):
            assert (await ended(call))[0] is grpc.StatusCode.NOT_FOUND
    assert not inner.seen


async def test_a_conversation_over_grpc_is_no_door(url: str, inner: ScriptedProvider, there: Path) -> None:
    async with stub(url) as calls:
        for fields in ({"model": f"gguf:{there}"}, {"model": "m", "provider": inner.url}):
            call = calls.Converse(iter([pb.ConverseInput(open=chat(fields.pop("model"), **fields))]))
            outputs = [output async for output in call]
            assert [output.WhichOneof("kind") for output in outputs] == ["error"]
            assert WHAT in outputs[0].error.message
    assert not inner.seen


async def test_no_field_beside_the_name_makes_a_file_or_an_address_of_it(
    url: str, inner: ScriptedProvider, there: Path
) -> None:
    """Over gRPC a request has a mode, and a provider, which is an address as well as a name."""
    here = pb.CommunicationMode.COMMUNICATION_MODE_AI_PC
    async with stub(url) as calls:
        said = set()
        for fields in (
            {"model": str(there), "mode": here},
            {"model": str(there) + "x", "mode": here},
            {"model": "./brain", "mode": here},
            {"model": "~", "mode": here},
            {"model": "m", "provider": inner.url + "/v1"},
            {"model": "tiny", "provider": "http://127.0.0.1:9"},
        ):
            for call in calls_of(calls, **fields):
                status, text = await ended(call)
                assert status is grpc.StatusCode.PERMISSION_DENIED, fields
                said.add(text)
        assert len(said) == 1
        for fields in (
            {"model": "brain", "mode": here},
            {"model": "claude-sonnet-4-5", "provider": "anthropic"},
            {"model": "m", "provider": "custom"},
            {"model": "tiny", "mode": pb.CommunicationMode.COMMUNICATION_MODE_AI_AI},
        ):
            for call in calls_of(calls, **fields):
                assert (await ended(call))[0] is grpc.StatusCode.NOT_FOUND, fields
        assert (await calls.ChatCompletion(chat("tiny", mode=here, max_tokens=1))).usage.output_tokens == 1
    assert not inner.seen


class Clerk(Agent):
    """Passes requests on to the connection of its host as they came."""

    @handler
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        return await self.llm.chat_completion(request)

    @handler
    async def stream_completion(self, request: LLMRequest) -> AsyncIterator[str]:
        yield (await self.llm.chat_completion(request)).content


async def test_an_agent_that_passes_requests_on_is_no_door(inner: ScriptedProvider, there: Path) -> None:
    """`AgentService` calls handlers with whatever a client sends, requests to models too."""
    async with Orchestrator(hosts=0) as orc:
        await orc.spawn(Clerk, name="clerk")
        async with endpoint(agents=orc) as running, stub(running.url) as calls:

            def asking(verb: str, **fields: str) -> agents_pb2.AskRequest:
                request = {"request": {"messages": TEXT, "max_tokens": 1, **fields}}
                value = agents_pb2.Value(json=json.dumps(request))
                return agents_pb2.AskRequest(agent="any:clerk", handler=verb, arguments=value)

            fields: dict[str, str]
            for fields in (
                {"model": f"gguf:{there}"},
                {"model": f"gguf:{there}x"},
                {"model": str(there), "mode": "ai_pc"},
                {"model": f"{inner.url}/v1#m"},
                {"model": "m", "provider": f"{inner.url}/v1"},
            ):
                for call in (
                    calls.Ask(asking("chat_completion", **fields)),
                    calls.Tell(asking("chat_completion", **fields)),
                    calls.Stream(asking("stream_completion", **fields)),
                ):
                    assert (await ended(call))[0] is grpc.StatusCode.PERMISSION_DENIED, fields
            reply = json.loads((await calls.Ask(asking("chat_completion", model="tiny"))).value.json)
            assert reply["usage"]["output_tokens"] == 1
    assert not inner.seen


class Opening(Scripted):
    """A program's own backend, which would open whatever it is asked for."""

    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        raise AssertionError(request.model)

    async def count(self, request: LLMRequest) -> Any:
        raise AssertionError(request.model)


@pytest.mark.parametrize("path", BODIES)
async def test_a_backend_of_a_program_is_asked_for_no_file_either(path: str) -> None:
    transport = httpx.ASGITransport(app=App(Opening(), ServeOptions(only_models=frozenset({"echo"}))))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        for name, status in (("gguf:/x", 403), ("http://127.0.0.1/x", 403), ("forever", 404)):
            for stream in {False, path in STREAMED}:
                body = {**BODIES[path], "model": name} | ({"stream": True} if stream else {})
                assert (await http.post(path, json=body)).status_code == status, name
        assert [model["id"] for model in (await http.get("/v1/models")).json()["data"]] == ["echo"]


async def test_an_operator_may_let_clients_name_any_local_model(there: Path, inner: ScriptedProvider) -> None:
    """Files, and no address: whoever asks for one would have this machine ask."""
    async with LLMConnection() as llm:
        transport = httpx.ASGITransport(app=App(Connected(llm), ServeOptions(any_local_model=True)))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=30) as http:
            path = "/v1/chat/completions"
            reply = await http.post(path, json={**BODIES[path], "model": f"gguf:{there}"})
            assert reply.json()["usage"]["completion_tokens"] == 1
            missing = await http.post(path, json={**BODIES[path], "model": f"gguf:{there}x"})
            assert missing.status_code == 404
            assert (await http.post(path, json={**BODIES[path], "model": f"{inner.url}/v1#m"})).status_code == 403
    assert not inner.seen


async def test_a_connection_that_no_endpoint_rules_opens_nothing_either(there: Path) -> None:
    async with LLMConnection() as llm:
        with pytest.raises(PermissionDenied, match=WHAT):
            Connected(llm).chat_completion(LLMRequest(model=f"gguf:{there}", messages=TEXT))
