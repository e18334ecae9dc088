"""Engines to compare: each loads a GGUF file with the same threads and answers the same prompts greedily."""

import asyncio
import json
import os
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks._peers import how_to_get, program
from local_models import LoadOptions, LocalModel

HOW_TO_GET_SERVER = how_to_get("llama-server")
SERVER_PROGRAM = Path(__file__).resolve().parent.parent / "_llama_server.py"
# for all engines alike; one core is left for event loops and HTTP, as local_models does by default
THREADS = int(os.environ.get("LOCAL_BENCHMARK_THREADS", "0")) or max((os.cpu_count() or 1) - 1, 1)


@dataclass(slots=True)
class Answer:
    """Times of the pieces of an answer, in seconds from the call."""

    first: float
    times: list[float]
    tokens: int

    @property
    def longest_pause(self) -> float:
        """Longest time between two pieces."""
        return max((b - a for a, b in zip(self.times, self.times[1:], strict=False)), default=0.0)


@asynccontextmanager
async def ours(path: Path, slots: int, context: int, **options: Any) -> AsyncIterator[LocalModel]:
    """Loads a model in local_models."""
    chosen = LoadOptions(threads=THREADS, sequences=slots, context=context, **options)
    async with await LocalModel.load(path, chosen) as model:
        yield model


async def ask_ours(
    model: LocalModel,
    prompt: str,
    tokens: int,
    agent: str = "",
    *,
    stream: bool = True,
    times: list[float] | None = None,
) -> Answer:
    """Asks local_models; `times` is filled while the pieces come, so that a cancelled call leaves its times."""
    started = time.perf_counter()
    if not stream:
        reply = await model.complete(prompt, max_tokens=tokens, temperature=0, agent=agent)
        taken = time.perf_counter() - started
        return Answer(reply.usage.first_token_seconds, [taken], reply.usage.completion_tokens)
    times = [] if times is None else times
    count = 0
    stream_of = model.stream_complete(prompt, max_tokens=tokens, temperature=0, agent=agent)
    async with stream_of as pieces:
        async for piece in pieces:
            times.append(time.perf_counter() - started)
            count += len(piece.tokens)
    return Answer(times[0], times, count)


def server_command() -> list[str]:
    """Returns the command of llama.cpp's server; empty where there is none.

    It is that of `LLAMA_SERVER`, a program that was built here, or that of the package xllamacpp, whose build for
    other machines has AVX2, FMA and OpenMP, and not what a newer processor has beyond them.
    """
    built = os.environ.get("LLAMA_SERVER")
    if built:
        return [built, "--host", "127.0.0.1", "--no-webui", "-ngl", "0"]
    python = program("llama-server")
    return [str(python), str(SERVER_PROGRAM)] if python.exists() else []


@asynccontextmanager
async def server(
    path: Path, slots: int, context: int, *flags: str, threads: int | None = THREADS
) -> AsyncIterator[int]:
    """Runs llama-server on a port of loopback, with `context` tokens for each slot; `threads` of None: its default."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        *server_command(),
        "-m",
        str(path),
        "-np",
        str(slots),
        "-c",
        str(slots * context),
        *(() if threads is None else ("-t", str(threads), "-tb", str(threads))),
        "--port",
        str(port),
        *flags,
    ]
    # The short spin at OpenMP's barriers that local_models chooses: the engines are compared and not this setting.
    environment = {**os.environ, "GOMP_SPINCOUNT": os.environ.get("GOMP_SPINCOUNT", "2000")}
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*command, stdout=quiet, stderr=quiet, env=environment)
    try:
        for _ in range(600):
            if process.returncode is not None:
                raise RuntimeError(f"llama-server ended with {process.returncode}")
            try:
                if (await _request(port, "GET", "/health", None))[0] == 200:
                    break
            except OSError:
                pass
            await asyncio.sleep(0.1)
        yield port
    finally:
        process.terminate()
        await process.wait()


async def _open(
    port: int, method: str, path: str, body: bytes | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body or b'')}\r\n\r\n"
    writer.write(head.encode() + (body or b""))
    return reader, writer


async def _request(port: int, method: str, path: str, body: bytes | None) -> tuple[int, bytes]:
    reader, writer = await _open(port, method, path, body)
    raw = await reader.read()
    writer.close()
    head, _, rest = raw.partition(b"\r\n\r\n")
    return int(head.split()[1]), rest


async def ask_server(
    port: int,
    prompt: str,
    tokens: int,
    *,
    stream: bool = True,
    times: list[float] | None = None,
    to_end: bool = True,
) -> Answer:
    """Asks llama-server; `times` as in `ask_ours`. `to_end`: the answer has all its tokens, whatever the model says."""
    body = {
        "prompt": prompt,
        "n_predict": tokens,
        "temperature": 0,
        "top_k": 1,
        "samplers": ["top_k"],
        "stream": stream,
        "ignore_eos": to_end,
        "cache_prompt": True,
    }
    started = time.perf_counter()
    if not stream:
        status, rest = await _request(port, "POST", "/completion", json.dumps(body).encode())
        assert status == 200, rest[:200]
        found = json.loads(rest[rest.index(b"{") : rest.rindex(b"}") + 1])
        return Answer(0.0, [time.perf_counter() - started], int(found["tokens_predicted"]))
    reader, writer = await _open(port, "POST", "/completion", json.dumps(body).encode())
    times = [] if times is None else times
    try:
        while line := await reader.readline():
            if line.startswith(b"data: ") and b'"stop":false' in line:
                times.append(time.perf_counter() - started)
    finally:
        writer.close()
    return Answer(times[0], times, len(times))


def ask_llama(model: Any, prompt: str, tokens: int) -> int:
    """Asks `Llama` of llama-cpp-python, which answers one call after another."""
    reply = model.create_completion(prompt, max_tokens=tokens, temperature=0.0)
    return int(reply["usage"]["completion_tokens"])


def llama(path: Path, context: int) -> Any:
    """Loads a model in `Llama`."""
    from llama_cpp import Llama

    return Llama(str(path), n_ctx=context, n_threads=THREADS, n_threads_batch=THREADS, verbose=False)


def llama_rate(engine: Any, prompts: Sequence[str], tokens: int) -> float:
    """Measures tokens a second of `Llama` for prompts one after another, and closes it."""
    try:
        ask_llama(engine, "warm", 4)
        started = time.perf_counter()
        made = sum(ask_llama(engine, prompt, tokens) for prompt in prompts)
        return made / (time.perf_counter() - started)
    finally:
        engine.close()


def raw_decode(path: Path, width: int, steps: int, context: int, *, unified: bool = False) -> float:
    """Measures tokens a second of llama_decode and an argmax, with nothing around them."""
    from local_models.llama import Context, ContextShape, Weights

    weights = Weights(str(path), gpu_layers=0, mmap=True)
    kv = Context(
        weights,
        ContextShape(sequences=width, tokens=width * context, batch=512, threads=THREADS, unified=unified),
    )
    try:
        kv.tokens[:width], kv.sequence[:width], kv.wanted[:width] = 7, range(width), 1
        started = 0.0
        for step in range(steps + 4):
            if step == 4:
                started = time.perf_counter()
            kv.positions[:width] = step
            assert kv.decode(width) == 0
            kv.tokens[:width] = kv.logits(width).argmax(axis=1)
        return width * steps / (time.perf_counter() - started)
    finally:
        kv.close()
        weights.close()


def words(count: int, seed: int) -> str:
    """Makes a prompt of so many words, each about three tokens for the random models."""
    import random

    rng = random.Random(seed)
    return " ".join("".join(rng.choice("abcdefghij") for _ in range(5)) for _ in range(count))


async def together(asks: Sequence[Any]) -> tuple[list[Answer], float]:
    """Runs calls at once; returns their answers and the seconds of all."""
    started = time.perf_counter()
    answers = await asyncio.gather(*asks)
    return list(answers), time.perf_counter() - started
