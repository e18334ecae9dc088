"""`hf:PATH` through all that a local model is reached by: a connection, an agent, the endpoint, the command line."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from local_models import LoadOptions
from tests.support.serve.endpoint import free_port
from tests.support.serve.load import serving
from three_mode import CommunicationMode, LLMConnection, LLMRequest, Orchestrator, sync
from three_mode.connection import ConnectionOptions
from three_mode.errors import InvalidRequest, NotFound

Told = tuple[Path, dict[str, Any]]
pytestmark = [pytest.mark.hf, pytest.mark.timeout(300)]

MESSAGES = [
    {"role": "system", "content": "Answer in one word."},
    {"role": "user", "content": "What is 2 + 2? Größe, 東京 🙂"},
]
OPTIONS = ConnectionOptions(local=LoadOptions(threads=1))


def asking(model: str, **how: Any) -> LLMRequest:
    return LLMRequest(**{"model": model, "messages": MESSAGES, "temperature": 0, "max_tokens": 60, **how})


async def test_a_connection_answers_streams_and_counts(hugging_face: Told) -> None:
    place, told = hugging_face
    model, expected = f"hf:{place / 'llama'}", told["references"]["llama_chat"]
    async with LLMConnection(options=OPTIONS) as llm:
        assert await llm.prepare(model)
        reply = await llm.chat_completion(asking(model, mode=CommunicationMode.AI_PC))
        assert (reply.content, reply.finish_reason) == (expected["text"], expected["finish"])
        assert (reply.model, reply.provider, reply.mode) == ("llama", "local", CommunicationMode.AI_PC)
        assert reply.usage.input_tokens == len(expected["prompt"])
        assert reply.usage.output_tokens == len(expected["tokens"])
        chunks = [chunk async for chunk in llm.stream(asking(model))]
        assert "".join(chunk.text for chunk in chunks) == expected["text"]
        assert await llm.count(asking(model)) == len(expected["prompt"])
        with pytest.raises(InvalidRequest, match="without a grammar") as caught:
            await llm.chat_completion(asking(model, response_format="json"))
        assert caught.value.field == "schema"
        with pytest.raises(InvalidRequest, match="encoders"):
            await llm.embed(model, ["x"])
        with pytest.raises(NotFound, match="no such folder"):
            await llm.chat_completion(asking("hf:/no/such/folder"))


def test_code_without_a_loop_and_a_name_for_the_folder(hugging_face: Told) -> None:
    place, told = hugging_face
    options = ConnectionOptions(local=LoadOptions(threads=1), files={"brain": f"hf:{place / 'llama'}"})
    with sync.LLMConnection(options=options) as llm:
        assert llm.chat_completion(asking("brain")).content == told["references"]["llama_chat"]["text"]
        vectors = llm.embed(f"hf:{place / 'bert'}", ["What is the time?"]).vectors
        assert vectors[0] == pytest.approx(told["references"]["vectors"][0], abs=1e-5)


async def test_a_model_is_an_agent(hugging_face: Told) -> None:
    place, told = hugging_face
    expected = told["references"]["llama_chat"]["text"]
    async with Orchestrator(hosts=1) as orc:
        brain = await orc.model(f"hf:{place / 'llama'}", name="brain", load=LoadOptions(threads=1))
        assert (await orc.llm.chat_completion(asking(brain.address))).content == expected
        text = [chunk.text async for chunk in orc.llm.stream(asking(brain.address))]
        assert "".join(text) == expected


async def test_the_endpoint_serves_it_by_name_only(hugging_face: Told) -> None:
    place, told = hugging_face
    port = free_port()
    async with (
        serving(port, "--model", f"brain=hf:{place / 'llama'}", within=120),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client,
    ):
        body = {"messages": MESSAGES, "temperature": 0, "max_tokens": 60}
        answer = await client.post("/v1/chat/completions", json={"model": "brain", **body}, timeout=120)
        assert answer.json()["choices"][0]["message"]["content"] == told["references"]["llama_chat"]["text"]
        refused = await client.post("/v1/chat/completions", json={"model": f"hf:{place / 'llama'}", **body})
        assert refused.status_code == 403


async def test_a_chat_on_the_command_line(hugging_face: Told) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "three_mode.cli", "chat", f"hf:{hugging_face[0] / 'gpt2'}", "--say", "Hi"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, error = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 0, error.decode()
    assert out.strip()
