"""The endpoint as if it were public: an agent's clients are answered while thousands of others attack.

No assertion on time but a generous one: the slowest part of a second that requests had is printed.
"""

import asyncio
import json
import resource
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.support.agents.until import until
from tests.support.http2.raw import END_HEADERS, HEADERS, PING, PREFACE, RST_STREAM, SETTINGS, block, frame
from tests.support.http2.raw_client import EMPTY_SETTINGS, POST
from tests.support.serve.attackers import all_files, open_many
from tests.support.serve.endpoint import free_port
from tests.support.serve.load import serving
from three_mode import Agent, LLMRequest, LLMResponse, Orchestrator, handler
from three_mode.messages import Text
from transports.http2 import Pool, PoolOptions, Request

SILENT = 5_000
FILES_BESIDE = 1_500  # of the attacks besides the silent ones, and of this process
MEGABYTES = 200.0  # that the endpoint may grow by
SLOWEST = 5.0  # seconds: on a machine where nothing is measured, a bound against hanging

CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
ENORMOUS = json.dumps({"model": "echo", "messages": [{"role": "user", "content": "x"}] * 40_000}).encode()
NESTED = b'{"model":"echo","messages":[{"role":"user","content":' + b"[" * 20_000
ATTACKS: dict[str, tuple[int, bytes]] = {
    "slow heads": (100, CHAT + b"x-slow: "),
    "half bodies": (300, CHAT + b"three-mode-within: 3600\r\ncontent-length: 100000\r\n\r\n{"),
    "chunks without end": (50, CHAT + b"transfer-encoding: chunked\r\n\r\n5\r\n{    \r\n"),
    "idle HTTP/2": (100, PREFACE + EMPTY_SETTINGS),
    "half header blocks": (50, PREFACE + EMPTY_SETTINGS + frame(HEADERS, 0, 1, block(*POST))),
    "HTTP/2 half bodies": (
        50,
        PREFACE + EMPTY_SETTINGS + b"".join(frame(HEADERS, END_HEADERS, n, block(*POST)) for n in range(1, 41, 2)),
    ),
    "windows of nothing": (20, PREFACE + frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0))),
}
FLOODS: tuple[bytes, ...] = (
    PREFACE + EMPTY_SETTINGS + frame(PING, 0, 0, b"12345678") * 2_000,
    PREFACE
    + EMPTY_SETTINGS
    + b"".join(
        frame(HEADERS, END_HEADERS, n, block(*POST)) + frame(RST_STREAM, 0, n, b"\0\0\0\x08") for n in range(1, 500, 2)
    ),
    CHAT + b"content-length: %d\r\n\r\n" % len(ENORMOUS) + ENORMOUS,
    CHAT + b"content-length: %d\r\n\r\n" % len(NESTED) + NESTED,
    CHAT + b"content-length: 900000000\r\n\r\n" + b"x" * 100_000,
    b"\x16\x03\x01" + b"\0" * 500,
    b"GET /" + b"a" * 70_000,
)


class Echo(Agent):
    """Answers at once."""

    @handler(concurrent=64)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        return LLMResponse(parts=(Text(request.messages[-1].text),), model="echo")


@asynccontextmanager
async def attacked(port: int, silent: int) -> AsyncIterator[None]:
    """All the attacks at once, until the block ends."""
    held = await open_many(port, silent, b"")
    for count, sent in ATTACKS.values():
        held += await open_many(port, count, sent)

    async def flood() -> None:
        while True:
            for data in FLOODS:
                held.extend(await open_many(port, 3, data))
                await asyncio.sleep(0.2)

    flooding = asyncio.create_task(flood())
    try:
        yield
    finally:
        flooding.cancel()
        await asyncio.gather(flooding, return_exceptions=True)
        for one in held:
            one.abort()  # type: ignore[attr-defined]


def memory_of(pid: int) -> float:
    """Megabytes in memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


@pytest.mark.timeout(180)
async def test_an_agents_clients_are_answered_meanwhile(capsys: pytest.CaptureFixture[str]) -> None:
    await attack(capsys, rounds=20)


@pytest.mark.soak
async def test_an_agents_clients_are_answered_for_minutes(capsys: pytest.CaptureFixture[str]) -> None:
    await attack(capsys, rounds=2_000)


async def attack(capsys: pytest.CaptureFixture[str], rounds: int) -> None:
    """Requests of an agent's clients, a new client each round, beside all the attacks."""
    port = free_port()
    body = b'{"model":"agent:echo","messages":[{"role":"user","content":"good day"}]}'
    async with all_files() as files, Orchestrator(hosts=1) as orc:
        silent = min(SILENT, files - FILES_BESIDE)  # the attackers' ends are all in this process
        await orc.spawn(Echo, name="echo")
        async with serving(port, "--bus", orc.bus.name) as process:
            request = Request.to("POST", f"http://127.0.0.1:{port}/v1/chat/completions", (), body)
            taken: list[float] = []

            async def ask(pool: Pool, count: int) -> None:
                for _ in range(count):
                    began = time.perf_counter()
                    reply = await pool.fetch(request)
                    taken.append(time.perf_counter() - began)
                    assert (reply.status, b"good day" in reply.content) == (200, True), reply.content

            async with Pool(PoolOptions(trust_env=False)) as pool:
                await ask(pool, 50)
                before = memory_of(process.pid)
                async with attacked(port, silent):
                    taken.clear()
                    for _ in range(rounds):
                        # A new client each time: it has to find a place among the connections.
                        async with Pool(PoolOptions(trust_env=False)) as fresh:
                            await asyncio.gather(*(ask(fresh, 10) for _ in range(4)))
                        await asyncio.sleep(0.05)
                    grown = memory_of(process.pid) - before
                    taken.sort()
                    with capsys.disabled():
                        print(  # noqa: T201
                            f"\n{len(taken)} requests beside {silent} silent sockets and {len(ATTACKS)} other attacks: "
                            f"p50 {taken[len(taken) // 2] * 1e3:.1f} ms, "
                            f"p99 {taken[int(len(taken) * 0.99)] * 1e3:.1f} ms, "
                            f"the slowest {taken[-1] * 1e3:.1f} ms; {grown:.0f} MB more"
                        )
                    assert taken[-1] < SLOWEST
                    assert grown < MEGABYTES
                await until(lambda: memory_of(process.pid) - before < MEGABYTES)
                await ask(pool, 50)
            assert process.returncode is None
