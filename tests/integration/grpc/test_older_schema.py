"""A client that is generated from the older schema, which has no package: it is answered as it expects."""

import importlib
import sys
from pathlib import Path

import grpc
import pytest

from tests.support.serve.endpoint import endpoint

SCHEMA = Path(__file__).parents[2] / "data" / "grpc"


@pytest.fixture
def generated(tmp_path, monkeypatch):
    from grpc_tools import protoc

    arguments = ["protoc", f"-I{SCHEMA}", f"--python_out={tmp_path}", f"--grpc_python_out={tmp_path}", "seed.proto"]
    assert protoc.main(arguments) == 0
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module("seed_pb2"), importlib.import_module("seed_pb2_grpc")
    for name in ("seed_pb2", "seed_pb2_grpc"):
        sys.modules.pop(name)


async def test_its_stub_is_answered(generated) -> None:
    messages, services = generated
    request = messages.ChatRequest(
        model="echo", messages=[messages.Message(role="user", content="good day")], temperature=0.7, max_tokens=5
    )
    async with endpoint() as found, grpc.aio.insecure_channel(found.url.removeprefix("http://")) as channel:
        stub = services.LLMServiceStub(channel)
        reply = await stub.ChatCompletion(request)
        assert (reply.content, reply.model, reply.tokens_used) == ("good day ", "echo", 7)
        chunks = [chunk async for chunk in stub.StreamingChat(request)]
        assert "".join(chunk.content for chunk in chunks) == "good day "
        assert (chunks[0].model, chunks[-2].tokens_used) == ("echo", 7)
        seen = found.backend.seen[0]
        assert (seen.temperature, seen.max_tokens) == (0.7, 5)
