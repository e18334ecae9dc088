"""`three-mode serve --workers N`: processes behind one port, which come back when they die and end together."""

import asyncio
import json
import os
import signal
import socket
from pathlib import Path

import httpx
import psutil
import pytest

from tests.support.agents.until import until
from tests.support.processes import lives
from tests.support.serve.endpoint import free_port
from tests.support.serve.load import Load, refused, serving
from three_mode import Orchestrator
from three_mode.testing import Fault, ScriptedProvider, Turn

BODY = {"model": "tiny", "temperature": 0, "messages": [{"role": "user", "content": "Count to 50."}]}


def workers_of(pid: int) -> list[psutil.Process]:
    return [child for child in psutil.Process(pid).children() if "workers.body" in " ".join(_words(child))]


def _words(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:  # it ended while it was looked at
        return []


def listens(process: psutil.Process, port: int) -> bool:
    try:
        return any(place.status == "LISTEN" and place.laddr.port == port for place in process.net_connections())
    except psutil.NoSuchProcess:  # it ended while it was looked at
        return False


def connections(process: psutil.Process, port: int) -> int:
    return sum(place.status == "ESTABLISHED" and place.laddr.port == port for place in process.net_connections())


async def asked(port: int, model: str = "tiny") -> str:
    """The answer over a new connection."""
    async with httpx.AsyncClient(timeout=30) as http:
        reply = await http.post(
            f"http://127.0.0.1:{port}/v1/chat/completions", json=BODY | {"model": model, "max_tokens": 4}
        )
        assert reply.status_code == 200, reply.text
        return str(reply.json()["choices"][0]["message"]["content"])


async def gone(processes: list[psutil.Process], within: float = 20) -> None:
    await until(lambda: not any(map(lives, processes)), within)


async def test_all_workers_answer_with_a_model_that_is_loaded_once() -> None:
    port = free_port()
    async with serving(port, "--workers", "2", "--model", "tiny", within=60) as process:
        family = psutil.Process(process.pid).children(recursive=True)
        workers = workers_of(process.pid)
        assert len(workers) == 2
        assert len(family) == 3, "two workers, and the model in a process of its own"
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(64)]
        await until(lambda: sum(connections(worker, port) for worker in workers) >= 64)
        assert all(connections(worker, port) for worker in workers)
        for client in clients:
            client.close()
        assert len({await asked(port) for _ in range(8)}) == 1
        async with httpx.AsyncClient() as http:
            listed = (await http.get(f"http://127.0.0.1:{port}/v1/models")).json()["data"]
            assert [model["id"] for model in listed] == ["tiny"], "nothing of the bus between them"
            other = await http.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=BODY | {"model": "model-1"})
            assert other.status_code == 404
        process.send_signal(signal.SIGTERM)  # idle
        assert await asyncio.wait_for(process.wait(), 20) == 0
        await gone(family)


async def test_a_worker_that_is_killed_comes_back_while_the_other_answers() -> None:
    port = free_port()
    async with serving(port, "--workers", "2", "--model", "tiny", within=60) as process:
        first, second = workers_of(process.pid)
        load = Load(f"http://127.0.0.1:{port}", ["tiny"])
        async with load.running(12):
            await until(lambda: sum(outcome.ok for outcome in load.outcomes) >= 12, 30)
            killed = asyncio.get_running_loop().time()
            first.kill()
            await until(lambda: sum(listens(worker, port) for worker in workers_of(process.pid)) == 2, 40)
            await load.until_all_well(asyncio.get_running_loop().time())
        assert {worker.pid for worker in workers_of(process.pid)} - {first.pid, second.pid}
        assert lives(second)
        lost = load.failures()
        assert set(lost) <= {"cut", "ConnectError", "ReadError", "RemoteProtocolError"}, lost
        assert sum(lost.values()) <= 2 * 12, "those of the killed worker, and no more"
        assert any(outcome.ok for outcome in load.between(killed, killed + 5.0))
        assert process.stderr is not None
        said = await asyncio.wait_for(until_said(process.stderr, b"SIGKILL"), 10)
        assert f"(pid {first.pid}) has ended: killed by SIGKILL; it is started again at once" in said


async def until_said(reader: asyncio.StreamReader, word: bytes) -> str:
    while word not in (line := await reader.readline()):
        assert line
    return line.decode()


async def test_at_sigterm_what_runs_may_end() -> None:
    port = free_port()
    async with (
        serving(port, "--workers", "2", "--model", "tiny", within=60) as process,
        httpx.AsyncClient(timeout=60) as http,
    ):
        family = psutil.Process(process.pid).children(recursive=True)
        body = BODY | {"stream": True, "max_tokens": 400, "ignore_eos": True}
        async with http.stream("POST", f"http://127.0.0.1:{port}/v1/chat/completions", json=body) as reply:
            lines = reply.aiter_lines()
            await anext(lines)
            process.send_signal(signal.SIGTERM)
            rest = [line async for line in lines if line]
        assert rest[-1] == "data: [DONE]"
        assert json.loads(rest[-2].removeprefix("data: "))["choices"][0]["finish_reason"] == "length"
        assert await asyncio.wait_for(process.wait(), 20) == 0
        await gone(family)


async def test_a_worker_that_drains_leaves_what_is_new_to_the_other() -> None:
    port = free_port()
    async with ScriptedProvider("http/1.1") as provider:
        provider.next(Turn(text=("at last",)), fault=Fault(stall_before_head=6))
        provider.always(Turn(text=("at once",)))
        url = provider.url + "/v1"
        async with serving(port, "--workers", "2", "--base-url", url, "--model", "small", within=60) as process:
            workers = workers_of(process.pid)
            long = asyncio.create_task(asked(port, "small"))
            await until(lambda: len(provider.seen) == 1)
            (busy,) = [worker for worker in workers if connections(worker, port)]
            (free,) = [worker for worker in workers if worker != busy]
            busy.send_signal(signal.SIGTERM)
            await until(lambda: not listens(busy, port))
            assert {await asked(port, "small") for _ in range(16)} == {"at once"}
            assert lives(busy)
            assert not long.done(), "it drains for as long as it has work"
            assert await long == "at last"
            await gone([busy])
            await until(lambda: sum(listens(worker, port) for worker in workers_of(process.pid)) == 2, 40)
            assert lives(free)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 20) == 0
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)


async def test_when_what_started_them_is_killed_they_end() -> None:
    port = free_port()
    async with serving(port, "--workers", "2", "--base-url", "http://127.0.0.1:9/v1", within=60) as process:
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) == 2
        process.kill()
        await gone(family)


async def test_a_port_that_is_taken_is_said_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        said = await refused("--port", str(port), "--workers", "2")
        assert said.count(f"cannot listen on 127.0.0.1:{port}") == 1
        said = await refused("--port", str(free_port()), "--grpc", str(port), "--workers", "2")
        assert said.count(f"cannot listen on 127.0.0.1:{port}") == 1
    port = free_port()
    async with serving(port, "--workers", "2", "--base-url", "http://127.0.0.1:9/v1", within=60):
        for words in (("--workers", "2"), ()):
            assert (await refused("--port", str(port), *words)).count(f"cannot listen on 127.0.0.1:{port}") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--workers", "0"), "workers are between 1 and 256, not 0"),
        (("--workers", "2", "--grpc", "unix:/tmp/x.sock"), "several workers do not share a Unix socket"),
        (("--workers", "2", "--model", "nosuch"), "'nosuch' is no local model"),
        (("--workers", "2", "--model", "x=gguf:/no/such.gguf"), "no such file"),
        (("--workers", "2", "--bus", "nosuch"), "cannot join the bus 'nosuch'"),
    ],
)
async def test_what_cannot_be_is_said_once(arguments: tuple[str, ...], said: str) -> None:
    assert (await refused("--port", str(free_port()), *arguments)).count(said) == 1


async def test_a_bus_of_others_gets_no_model_of_ours() -> None:
    async with Orchestrator(hosts=0) as orc:
        said = await refused("--port", str(free_port()), "--workers", "2", "--bus", orc.name, "--model", "tiny")
    assert said.count("each worker would load 'tiny'") == 1


async def test_the_number_may_stand_in_the_config_file(tmp_path: Path) -> None:
    file = tmp_path / "serve.toml"
    file.write_text('[serve]\nworkers = 3\n[providers.openai]\nbase_url = "http://127.0.0.1:9/v1"\n')
    async with serving(free_port(), "--config", str(file), "--provider", "openai", within=60) as process:
        assert len(workers_of(process.pid)) == 3
        os.kill(process.pid, signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 20) == 0
