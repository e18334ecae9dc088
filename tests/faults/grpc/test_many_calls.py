"""Ten thousand calls leave nothing behind; and what runs when the endpoint goes down is answered."""

import asyncio
import gc
import tracemalloc

import grpc
import pytest

from tests.support.grpc.stubs import chat, end_of, stub
from tests.support.serve.endpoint import endpoint
from three_mode.messages import LLMResponse

WARM, MEASURED, AT_ONCE = 5_000, 5_000, 50  # a connection remembers its last streams: as many come first


class Echo:
    """A backend that keeps nothing, as `Scripted` does not."""

    async def chat_completion(self, request):
        return LLMResponse.of(request.messages[-1].text)


async def test_ten_thousand_calls_with_flat_memory() -> None:
    async with endpoint() as found, stub(found.url) as calls:
        found.app.endpoint.use(Echo())
        ask = calls.ChatCompletion

        async def some(count: int) -> None:
            for _ in range(count // AT_ONCE):
                replies = await asyncio.gather(*(ask(chat("echo", "hello")) for _ in range(AT_ONCE)))
                assert all(reply.content == "hello" for reply in replies)

        tracemalloc.start()
        try:
            await some(WARM)
            gc.collect()
            before, _ = tracemalloc.get_traced_memory()
            await some(MEASURED)
            gc.collect()
            after, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert after - before < 50_000, f"{after - before} bytes more after {MEASURED} calls"
        assert found.app.metrics.in_flight == 0


async def test_a_call_that_runs_is_answered_while_the_endpoint_goes_down() -> None:
    gone = asyncio.Event()

    class Slow(Echo):
        async def chat_completion(self, request):
            began.set()
            await gone.wait()
            return await super().chat_completion(request)

    began = asyncio.Event()
    serving = endpoint()
    found = await serving.__aenter__()
    async with stub(found.url) as calls:
        found.app.endpoint.use(Slow())
        running = asyncio.ensure_future(calls.ChatCompletion(chat("echo", "still here"), timeout=60))
        async with asyncio.timeout(20):
            await began.wait()
        ending = asyncio.create_task(serving.__aexit__(None, None, None))  # GOAWAY first
        async with asyncio.timeout(20):
            while not found.app.draining:  # noqa: ASYNC110  (the endpoint has no hook to wait on)
                await asyncio.sleep(0.01)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await calls.ChatCompletion(chat("echo"), timeout=20)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert not running.done()
        gone.set()
        assert (await running).content == "still here"
        await ending


async def test_what_runs_too_long_is_cut_off_with_a_status() -> None:
    async with endpoint(drain_within=0.2) as found, stub(found.url) as calls:
        ending = asyncio.ensure_future(end_of(calls.StreamingChat(chat("forever"), timeout=60)))
        async with asyncio.timeout(20):
            while not found.backend.running:  # noqa: ASYNC110  (the model has no hook to wait on)
                await asyncio.sleep(0.01)
        assert not await found.app.drain()
        found.app.cut_off()
        assert (await ending)[0] is grpc.StatusCode.UNAVAILABLE
        async with asyncio.timeout(10):
            await found.backend.cancelled.wait()
