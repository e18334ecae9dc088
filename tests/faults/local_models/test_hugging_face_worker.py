"""The worker of a Hugging Face model is killed: its calls end with an error, and the next call has another worker."""

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from local_models import LoadOptions, LocalModel, WorkerDied
from local_models.isolated import IsolatedBackend
from tests.support.local_models.models import user
from three_mode import LLMConnection, LLMRequest
from three_mode.connection import ConnectionOptions
from three_mode.errors import StreamInterrupted

Told = tuple[Path, dict[str, Any]]
pytestmark = [pytest.mark.hf, pytest.mark.timeout(300)]


def kill_worker(model: LocalModel) -> None:
    backend = model._backend
    assert isinstance(backend, IsolatedBackend)
    os.kill(backend.pid, signal.SIGKILL)


async def test_a_killed_worker_ends_its_calls_and_the_next_call_starts_another(hugging_face: Told) -> None:
    async with await LocalModel.load(f"hf:{hugging_face[0] / 'llama'}", LoadOptions(threads=1)) as model:
        expected = await model.chat(user("Hi"), temperature=0, max_tokens=8)
        stream = model.stream(user("Hi"), temperature=1, max_tokens=2000)
        await anext(stream)
        waiting = [asyncio.create_task(model.chat(user("Hi"), max_tokens=2000)) for _ in range(6)]
        await asyncio.sleep(0)
        kill_worker(model)
        ended = await asyncio.gather(*waiting, return_exceptions=True)
        assert all(isinstance(error, WorkerDied) for error in ended)
        with pytest.raises(WorkerDied, match="the next call starts another"):
            async for _ in stream:
                pass
        again = await model.chat(user("Hi"), temperature=0, max_tokens=8)
        assert (again.text, again.tokens) == (expected.text, expected.tokens)
        assert (await model.statistics()).restarts == 1


async def test_a_connection_tries_again_with_the_next_worker(hugging_face: Told) -> None:
    address = f"hf:{hugging_face[0] / 'llama'}"
    request = LLMRequest(model=address, messages=user("Hi"), temperature=0, max_tokens=8)
    async with LLMConnection(options=ConnectionOptions(local=LoadOptions(threads=1))) as llm:
        expected = (await llm.chat_completion(request)).content
        channel: Any = next(iter(llm._services.dispatcher._made.values()))
        lease = channel._pool.lease_at_once(address)
        stream = llm.stream(LLMRequest(model=address, messages=user("Hi"), temperature=1, max_tokens=2000))
        await anext(stream)
        kill_worker(lease.model)
        # A reply that was begun is not begun again behind its reader.
        with pytest.raises(StreamInterrupted, match="the worker process"):
            async for _ in stream:
                pass
        assert (await llm.chat_completion(request)).content == expected
        lease.release()
