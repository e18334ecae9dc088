"""Under load through the endpoint: a host, the model's process and the endpoint itself are killed in turn.

No client hangs, each failure has a name, all models answer again, and who was not killed is not harmed.
"""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio

from tests.support.agents.until import until
from tests.support.serve.endpoint import free_port
from tests.support.serve.load import HANG, WITHIN, Load, rings_of, serving, sockets_of
from three_mode import Agent, LLMRequest, LLMResponse, Orchestrator, handler
from three_mode.messages import Chunk, Finish, Start, Text, TextDelta
from transports.bus.registry.election import runtime_directory

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(110)]
# What a client may be told when a process behind the endpoint dies: that it was lost, is not there (yet), or was too
# late.
NAMED = {"peer_lost", "stream_interrupted", "agent_not_found", "overloaded", "deadline_exceeded"}
MODELS = ("agent:slow/0", "agent:slow/1", "agent:brain")


class Slow(Agent):
    """Takes a quarter of a second, so that requests are in its hands when it dies."""

    @handler(concurrent=64)
    async def chat_completion(self, request: LLMRequest) -> LLMResponse:
        await asyncio.sleep(0.25)
        return LLMResponse(parts=(Text("whole"),), model="slow")

    @handler(concurrent=64)
    async def stream_completion(self, request: LLMRequest) -> AsyncIterator[list[Chunk]]:
        yield [Start("slow"), TextDelta("one ")]
        for _ in range(10):
            await asyncio.sleep(0.025)
            yield [TextDelta("more ")]
        yield [Finish()]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def city() -> AsyncIterator[Orchestrator]:
    async with Orchestrator(hosts=2) as orc:
        await orc.spawn(Slow, 2, name="slow")
        await orc.model("tiny", name="brain")
        yield orc


async def pid_of(city: Orchestrator, agent: str) -> int:
    table = await city.table()
    host = next(each.host for each in table.agents if each.name == agent)
    return next(each.pid for each in table.hosts if each.label == host)


async def pids(city: Orchestrator) -> dict[str, int]:
    return {each.label: each.pid for each in (await city.table()).hosts}


def files_of(city: Orchestrator) -> set[str]:
    return {path.name for path in runtime_directory().glob(f"{city.bus.name}*")}


@pytest.mark.parametrize("victim", ["slow/0", "brain/0"])
async def test_a_process_behind_the_endpoint_is_killed(city: Orchestrator, victim: str) -> None:
    """A host of agents, or the process of the model."""
    port = free_port()
    async with serving(port, "--bus", city.bus.name) as endpoint:
        load = Load(f"http://127.0.0.1:{port}", MODELS)
        async with load.running():
            await load.until_all_well(0)
            doomed = await pid_of(city, victim)
            killed = time.monotonic()
            os.kill(doomed, signal.SIGKILL)
            await load.until_all_well(killed)
            await asyncio.sleep(0.5)
        assert endpoint.returncode is None
    failures = load.failures()
    assert failures.keys() <= NAMED, failures
    assert failures, "requests were in the hands of what was killed"
    slowest = max(outcome.ended - outcome.began for outcome in load.outcomes)
    assert slowest < HANG, "nobody waited beyond the deadline"
    bystander = MODELS[1]
    assert not [o for o in load.outcomes if o.model == bystander and not o.ok], "only what it held was lost"
    assert await pid_of(city, victim) != doomed, "it came back"


async def test_the_endpoint_is_killed_and_started_again(city: Orchestrator) -> None:
    port = free_port()
    before = await pids(city)
    files = files_of(city)
    await until(lambda: len(city.bus.members()) == len(before) + 1)  # the endpoint of the test before has left
    load = Load(f"http://127.0.0.1:{port}", MODELS)
    async with serving(port, "--bus", city.bus.name) as first:
        async with load.running():
            await load.until_all_well(0)
            held = {pid: (rings_of(pid), sockets_of(pid)) for pid in before.values()}
            waiting, killed = len(load.in_flight), time.monotonic()
            assert waiting > 0
            first.kill()
            await first.wait()
            # All that were in flight hear of it: none waits for its deadline.
            await until(lambda: len(load.across(killed)) >= waiting, within=WITHIN / 2)
            broken = load.failures(load.between(killed))
            assert broken.keys() <= {"ReadError", "RemoteProtocolError", "ConnectError", "cut"}, broken
            assert load.failures(load.across(killed)).total() > 0
            async with serving(port, "--bus", city.bus.name):
                back = time.monotonic()
                await load.until_all_well(back)
                assert load.failures(load.between(back + 1)).keys() <= {"ConnectError"}
                # The dead endpoint's rings and sockets are gone from the hosts, and the new one's took their place.
                await until(
                    lambda: all(
                        rings_of(pid) <= rings and sockets_of(pid) <= sockets for pid, (rings, sockets) in held.items()
                    )
                )
                async with httpx.AsyncClient() as http:
                    listed = (await http.get(f"{load.url}/v1/models")).json()["data"]
                assert "agent:brain" in {model["id"] for model in listed}
    assert await pids(city) == before, "no host was harmed"
    assert files_of(city) == files, "the endpoint left no socket and no lock"
    assert (await city.llm.ask("Count to 3.", model="agent:brain", max_tokens=16)).strip()
    await until(lambda: len(city.bus.members()) == len(before) + 1)


async def test_sigterm_under_load_lets_what_runs_end(city: Orchestrator) -> None:
    port = free_port()
    load = Load(f"http://127.0.0.1:{port}", MODELS[:2])
    async with serving(port, "--bus", city.bus.name) as endpoint:
        async with load.running():
            await load.until_all_well(0)
            await until(lambda: any(began < time.monotonic() - 0.12 for began in load.in_flight.values()))
            told = time.monotonic()
            endpoint.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(endpoint.wait(), 20) == 0
            ended = time.monotonic()
    # One that was sent in the very moment of the signal may be refused: it had not begun.
    finished = [outcome for outcome in load.across(told) if outcome.began < told - 0.1]
    assert finished, "requests ran when the signal came"
    assert all(o.ok for o in finished), load.failures(finished)
    refused = load.failures(load.between(told, ended))
    assert refused.keys() <= {"draining", "ConnectError", "ReadError", "RemoteProtocolError"}, refused
    with pytest.raises(httpx.ConnectError):
        async with httpx.AsyncClient() as http:
            await http.get(f"{load.url}/healthz")
