"""The access log of the command: a reader that stops reading, or leaves, holds up no request and no end."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from tests.support.agents.until import until
from tests.support.serve.endpoint import free_port
from three_mode.cli.access_lines import AccessLines
from three_mode.serve.access_log import log

PIPE = 65536  # bytes that a pipe holds


@asynccontextmanager
async def started(port: int, *arguments: str, output: int) -> AsyncIterator[asyncio.subprocess.Process]:
    command = (sys.executable, "-m", "three_mode.cli", "serve", "--port", str(port), *arguments)
    process = await asyncio.create_subprocess_exec(*command, stdout=output, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    try:
        said = b""
        async with asyncio.timeout(60):
            while b"serving on" not in said:
                line = await process.stderr.readline()
                assert line, said
                said += line
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def test_lines_come_out_and_an_end_writes_the_last() -> None:
    read, write = os.pipe()
    port = free_port()
    async with started(port, "--access-log", "json", output=write) as process:
        os.close(write)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            for _ in range(3):
                await http.get("/health")
            await http.post("/v1/chat/completions", json={"model": "gguf:/x", "messages": []})
            process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0
    with os.fdopen(read) as lines:
        found = [json.loads(line) for line in lines]
    assert [line["path"] for line in found] == ["/health"] * 3 + ["/v1/chat/completions"]


async def test_a_reader_that_does_not_read_holds_up_nobody() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    filled = 0
    try:
        while True:
            filled += os.write(write, b"x" * PIPE)
    except BlockingIOError:
        os.set_blocking(write, True)
    port = free_port()
    try:
        async with started(port, "--access-log", "short", output=write) as process:
            async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as http:
                for _ in range(50):
                    assert (await http.get("/health")).status_code == 200
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 20) == 0
    finally:
        os.close(write)
        os.close(read)
    assert filled


async def test_lines_without_room_are_dropped_and_counted() -> None:
    read, write = os.pipe()
    os.set_blocking(write, False)
    try:
        while True:
            os.write(write, b"x" * PIPE)
    except BlockingIOError:
        os.set_blocking(write, True)
    handler = AccessLines(write, waiting=10)
    try:
        first = log.makeRecord(log.name, 20, __file__, 1, "%s", ("first",), None)
        handler.handle(first)
        await until(handler._lines.empty)  # it is being written
        for number in range(30):
            handler.handle(log.makeRecord(log.name, 20, __file__, 1, "%s", (f"line {number}",), None))
        text = b""
        os.set_blocking(read, False)

        def all_came() -> bool:
            nonlocal text
            try:
                text += os.read(read, PIPE)
            except BlockingIOError:
                pass
            return text.endswith(b"line 9\n")

        await until(all_came)
        assert text.lstrip(b"x").decode().splitlines() == ["first", '{"dropped":20}', *(f"line {n}" for n in range(10))]
    finally:
        handler.close()
        os.close(write)
        os.close(read)


async def test_a_reader_that_leaves_ends_the_lines_alone() -> None:
    read, write = os.pipe()
    os.close(read)
    handler = AccessLines(write, waiting=10)
    try:
        for number in range(30):
            handler.handle(log.makeRecord(log.name, 20, __file__, 1, "%s", (f"line {number}",), None))
        await until(lambda: not handler._thread.is_alive())
    finally:
        handler.close()
        os.close(write)
