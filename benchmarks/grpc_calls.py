"""Calls over gRPC: beside grpcio's own client and server, and beside HTTP with JSON against the same endpoint."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import psutil

from benchmarks._grpc_cast import Talker
from benchmarks._grpc_server import SERVICE, GrpcServer, grpcio_server
from benchmarks._http2_server import installed
from benchmarks._serve_subjects import Endpoint, three_mode
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate_async
from three_mode import LLMConnection, LLMRequest, LLMResponse, Orchestrator, Usage
from three_mode.connection import ConnectionOptions
from three_mode.grpc_messages import convert
from three_mode.grpc_messages import llm_pb2 as pb
from three_mode.messages import Text
from three_mode.providers import codec_of, profile_of
from three_mode.providers.grpc import GRPCCodec
from three_mode.serve.wire_out import completion
from transports.grpc import ChannelOptions, GrpcChannel
from transports.http2 import PoolOptions

AT_ONCE = 64
CALLS, CHUNKS = 1_280, 2_000
RATE = f"calls a second, {AT_ONCE} at once"
ALL = f"processor time of all processes for a call, {AT_ONCE} at once"
ONE = "a call, one at a time"
CHUNK = "a chunk of a stream"
CLIENT = f"processor time of the client for a call, {AT_ONCE} at once, one server"
CLIENT_CHUNK = "processor time of the client for a chunk, one server"
BOTH = f"processor time of both sides for a call of LLMConnection, {AT_ONCE} at once"
MEMORY = "memory grown by 10,000 calls over gRPC"
SIZE = "bytes of a request of %s characters", "bytes of its answer, %s characters"
OURS, GRPCIO, AGENT = "three-mode, an agent behind it", "grpcio, an echo in the server", "agent:talker"
CHANNEL, AIO = "our channel", "grpc.aio"
GRPC, REST = "use_grpc", "HTTP and JSON"
LENGTHS = (9, 500, 5_000)

Sample = Callable[[], Awaitable[float]]
Ask = Callable[[], Awaitable[object]]


def request(model: str, max_tokens: int | None = None) -> pb.ChatRequest:
    """The request of all subjects."""
    return pb.ChatRequest(
        model=model, messages=[pb.Message(role="user", content="Hello there!")], max_tokens=max_tokens
    )


def ours(channel: GrpcChannel, model: str) -> tuple[Ask, Callable[[int], Awaitable[None]]]:
    """A call and a stream of our channel, with the messages of protobuf that grpcio's stubs read too."""
    asked = request(model)

    async def call() -> None:
        data = await channel.unary(f"/{SERVICE}/ChatCompletion", asked.SerializeToString(), within=30.0)
        assert pb.ChatResponse.FromString(data).content == "Hello there!"

    async def stream(chunks: int) -> None:
        left = chunks
        message = request(model, chunks).SerializeToString()
        async with channel.stream(f"/{SERVICE}/StreamingChat", message, within=60.0) as answer:
            async for data in answer:
                left -= bool(pb.ChatChunk.FromString(data).content)
        assert not left

    return call, stream


def theirs(channel: Any, model: str) -> tuple[Ask, Callable[[int], Awaitable[None]]]:
    """The same of grpc.aio."""
    unary = channel.unary_unary(
        f"/{SERVICE}/ChatCompletion", pb.ChatRequest.SerializeToString, pb.ChatResponse.FromString
    )
    streaming = channel.unary_stream(
        f"/{SERVICE}/StreamingChat", pb.ChatRequest.SerializeToString, pb.ChatChunk.FromString
    )
    asked = request(model)

    async def call() -> None:
        reply = await unary(asked, timeout=30.0)
        assert reply.content == "Hello there!"

    async def stream(chunks: int) -> None:
        left = chunks
        async for chunk in streaming(request(model, chunks), timeout=60.0):
            left -= bool(chunk.content)
        assert not left

    return call, stream


async def one_by_one(ask: Ask, calls: int) -> None:
    """So many calls, one after another."""
    for _ in range(calls):
        await ask()


async def many(ask: Ask, calls: int) -> None:
    """So many calls, 64 at once."""

    async def worker() -> None:
        for _ in range(calls // AT_ONCE):
            await ask()

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))


def timed(work: Callable[[], Awaitable[object]], count: int, clock: Callable[[], float] = time.perf_counter) -> Sample:
    """A sample: what `clock` counts for each of `count`."""

    async def take() -> float:
        began = clock()
        await work()
        return (clock() - began) / count

    return take


def processor_time(others: Sequence[int]) -> float:
    """Seconds of this process and of the others so far, user and kernel."""
    return time.process_time() + sum(time.clock_gettime((~pid << 3) | 2) for pid in others)


@asynccontextmanager
async def channels(endpoint: Endpoint, server: GrpcServer) -> AsyncIterator[tuple[GrpcChannel, GrpcChannel, Any]]:
    """Our channel to each of the two servers, and that of grpc.aio to its own."""
    import grpc.aio

    keyed = ChannelOptions(metadata=((b"authorization", b"Bearer " + endpoint.key.encode()),))
    async with (
        GrpcChannel(endpoint.url.replace("http", "grpc"), keyed) as own,
        GrpcChannel(f"grpc://127.0.0.1:{server.port}") as other,
        grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as aio,
    ):
        yield own, other, aio


async def beside_grpcio(endpoint: Endpoint, server: GrpcServer, context: Context) -> AsyncIterator[Row]:
    """Both sides of each against both sides of the other; then two clients against one server."""
    calls, chunks = (CALLS // 4, CHUNKS // 4) if context.quick else (CALLS, CHUNKS)
    async with channels(endpoint, server) as (own, other, aio):
        pairs = {OURS: ours(own, AGENT), GRPCIO: theirs(aio, "echo")}
        rounds = context.rounds(8)
        found = await alternate_async(
            {name: timed(partial(many, ask, calls), calls) for name, (ask, _) in pairs.items()}, rounds
        )
        for name, seconds in found.items():
            yield Row(case=RATE, subject=name, unit="1/s", samples=[1 / s for s in seconds], higher_is_better=True)
        others = [child.pid for child in psutil.Process().children(recursive=True) if child.pid != server.pid]
        spent = {OURS: partial(processor_time, others), GRPCIO: partial(processor_time, [server.pid])}
        found = await alternate_async(
            {name: timed(partial(many, ask, calls), calls, spent[name]) for name, (ask, _) in pairs.items()}, rounds
        )
        for name, seconds in found.items():
            yield Row(case=ALL, subject=name, unit="us", samples=[1e6 * s for s in seconds])
        found = await alternate_async(
            {name: timed(partial(one_by_one, ask, 100), 100) for name, (ask, _) in pairs.items()}, rounds
        )
        for name, seconds in found.items():
            yield Row(case=ONE, subject=name, unit="us", samples=[1e6 * s for s in seconds])
        found = await alternate_async(
            {name: timed(partial(read, chunks), chunks) for name, (_, read) in pairs.items()}, rounds
        )
        for name, seconds in found.items():
            yield Row(case=CHUNK, subject=name, unit="us", samples=[1e6 * s for s in seconds])
        clients = {CHANNEL: ours(other, "echo"), AIO: theirs(aio, "echo")}
        clock = time.process_time
        found = await alternate_async(
            {name: timed(partial(many, ask, calls), calls, clock) for name, (ask, _) in clients.items()}, rounds
        )
        for name, seconds in found.items():
            yield Row(case=CLIENT, subject=name, unit="us", samples=[1e6 * s for s in seconds])
        found = await alternate_async(
            {name: timed(partial(read, chunks), chunks, clock) for name, (_, read) in clients.items()}, rounds
        )
        for name, seconds in found.items():
            yield Row(case=CLIENT_CHUNK, subject=name, unit="us", samples=[1e6 * s for s in seconds])


def connection(endpoint: Endpoint, use_grpc: bool) -> LLMConnection:
    """A connection to the endpoint, over either."""
    options = ConnectionOptions(transport=PoolOptions(trust_env=False), config={})
    return LLMConnection(
        base_url=endpoint.url + "/v1", api_key=endpoint.key, use_grpc=use_grpc, options=options, timeout=30.0
    )


async def beside_http(endpoint: Endpoint, context: Context) -> AsyncIterator[Row]:
    """One endpoint, over gRPC and over HTTP."""
    calls = CALLS // 4 if context.quick else CALLS
    asked = LLMRequest(model="talker", messages=[{"role": "user", "content": "Hello there!"}])
    streamed = LLMRequest(model="talker", messages=asked.messages, max_tokens=calls)
    async with connection(endpoint, True) as over_grpc, connection(endpoint, False) as over_http:
        both = {GRPC: over_grpc, REST: over_http}
        first = await over_grpc.chat_completion(asked)
        assert first.steps[0].why == "over gRPC", first.steps

        def spent() -> float:
            return time.process_time() + endpoint.cpu()

        works = {BOTH: (many, calls, spent), ONE: (one_by_one, 100, time.perf_counter)}
        for case, (work, count, clock) in works.items():
            found = await alternate_async(
                {
                    name: timed(partial(work, partial(llm.chat_completion, asked), count), count, clock)
                    for name, llm in both.items()
                },
                context.rounds(8),
            )
            for name, seconds in found.items():
                yield Row(case=case, subject=name, unit="us", samples=[1e6 * s for s in seconds])

        async def read(llm: LLMConnection) -> None:
            assert len(await llm.stream(streamed).text()) == 5 * calls

        found = await alternate_async(
            {name: timed(partial(read, llm), calls) for name, llm in both.items()}, context.rounds(8)
        )
        for name, seconds in found.items():
            yield Row(case=CHUNK, subject=name, unit="us", samples=[1e6 * s for s in seconds])
        yield Row(case=MEMORY, subject=GRPC, unit="MB", samples=[await memory(over_grpc, asked, context)])


async def memory(llm: LLMConnection, asked: LLMRequest, context: Context) -> float:
    """Growth of resident memory by 10,000 calls after the first 2,560, in megabytes."""
    await many(partial(llm.chat_completion, asked), 640 if context.quick else 2_560)
    gc.collect()
    before = psutil.Process().memory_info().rss
    await many(partial(llm.chat_completion, asked), 640 if context.quick else 10_048)
    gc.collect()
    return float(psutil.Process().memory_info().rss - before) / 1e6


def proto_answer(reply: LLMResponse) -> bytes:
    """An answer as the endpoint sends it."""
    data: bytes = convert.write_response(reply).SerializeToString()
    return data


def sizes() -> Iterator[Row]:
    """Bytes of a request and of its answer, as messages of gRPC and as JSON, without any head."""
    openai, proto = codec_of(profile_of("openai")), GRPCCodec(profile_of("openai"))
    for length in LENGTHS:
        text = ("The quick brown fox jumps over the lazy dog. " * 120)[:length]
        asked = LLMRequest(model="gpt-5", messages=[{"role": "user", "content": text}], temperature=0.7, max_tokens=99)
        reply = LLMResponse(parts=(Text(text),), model="gpt-5", usage=Usage(12, 40), request_id="call_0123456789")
        for case, subjects in (
            (SIZE[0], {GRPC: proto.encode(asked, "gpt-5"), REST: openai.encode(asked, "gpt-5", stream=False).body}),
            (
                SIZE[1],
                {GRPC: convert.write_response(reply).SerializeToString(), REST: completion(reply, reply.request_id)},
            ),
        ):
            for name, data in subjects.items():
                yield Row(case=case % f"{length:,}", subject=name, unit="bytes", samples=[float(len(data))])


async def measure(context: Context) -> list[Row]:
    """Measures all subjects in turn."""
    rows: list[Row] = []
    async with AsyncExitStack() as stack:
        context.progress("starting an agent, the endpoint and a server on grpcio")
        orc = await stack.enter_async_context(Orchestrator(hosts=1))
        await orc.spawn(Talker, name="talker")
        endpoint = await asyncio.to_thread(stack.enter_context, three_mode(orc.name, "http://127.0.0.1:9"))
        server = await asyncio.to_thread(stack.enter_context, grpcio_server())
        context.progress("beside grpcio")
        rows += [row async for row in beside_grpcio(endpoint, server, context)]
        context.progress("beside HTTP")
        rows += [row async for row in beside_http(endpoint, context)]
    order = list(dict.fromkeys(row.case for row in rows))
    return sorted(rows, key=lambda row: order.index(row.case))


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    yield from sizes()
    if not installed("grpc"):
        yield Missing(case=RATE, subject=GRPCIO, how_to_get="pip install grpcio")
        return
    yield from asyncio.run(measure(context))


BENCHMARK = Benchmark(
    summary="calls and streams over gRPC, beside grpcio and beside HTTP with JSON",
    run=run,
    targets=[
        Target(case=RATE, subject=OURS, peer=GRPCIO, at_least=1.5),
        Target(case=CHUNK, subject=OURS, peer=GRPCIO, at_most=0.4),
        Target(case=CLIENT, subject=CHANNEL, peer=AIO, at_most=1.0),
        Target(case=CLIENT_CHUNK, subject=CHANNEL, peer=AIO, at_most=0.6),
        Target(case=BOTH, subject=GRPC, peer=REST, at_most=1.0),
        Target(case=MEMORY, subject=GRPC, at_most=5.0),
    ],
    notes=(
        "All on asyncio's own loop, which grpc.aio wants, over loopback TCP without TLS, with the key checked by the "
        "endpoint and by nothing in grpcio's server. Three processes work for three-mode (client, endpoint, the "
        "agent's host) and two for grpcio, and all share the machine. Both clients of one server are measured by their "
        "own processor time. Sizes are those of bodies, without heads, for a request of one message and an answer of "
        "one text with its usage; JSON is OpenAI's."
    ),
)
