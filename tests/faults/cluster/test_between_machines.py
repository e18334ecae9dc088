"""Faults between machines, in rounds, each from a seed: under load nothing comes twice, nothing is lost in silence,
every wait ends, and each incarnation has an epoch of its own."""

import asyncio
import random
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from tests.support.cluster.city import AGENTS, City
from tests.support.cluster.ledger import broken
from three_mode.testing import Machines

SECONDS = 5.0  # of load in a round
FIRST, ROUNDS, MANY = 120, 5, 50  # these five rounds have one fault of each kind, twins and a killed node among them
NUMBERS = 100_000  # for the things of one round

Fault = Callable[[City, random.Random], Awaitable[None]]


async def _part(city: City, chance: random.Random) -> None:
    city.machines.unplug("b")
    await asyncio.sleep(chance.choice((0.3, 1.0, 3.0)))
    city.machines.plug("b")


async def _part_with_twins(city: City, chance: random.Random) -> None:
    """Both sides of a partition begin with an agent of one name: one is left when it heals."""
    city.machines.unplug("b")
    await asyncio.sleep(2.5)
    name = f"twin-{chance.getrandbits(32)}"
    for node in "ab":
        assert await city.nodes[node].ask("spawn", group=name, count=1)
    city.machines.plug("b")
    for _ in range(200):
        sides = [await city.nodes[node].ask("here", names=[f"{name}/0"]) for node in "ab"]
        if sides.count([]) == 1:
            break
        await asyncio.sleep(0.1)
    assert sides.count([]) == 1, f"{name}/0 runs on {sides}"
    await asyncio.gather(*(node.ask("wait_for", names=[f"{name}/0"]) for node in city.nodes.values()))
    heard = [await city.nodes[node].ask("who", names=[f"{name}/0"]) for node in "abc"]
    assert heard[0] == heard[1] == heard[2], heard


async def _lossy(city: City, chance: random.Random) -> None:
    for relay in city.relays.values():
        relay.delay, relay.loss = chance.choice((0.0, 0.02, 0.2)), chance.choice((0.01, 0.1))
    await asyncio.sleep(2.5)
    for relay in city.relays.values():
        relay.delay = relay.loss = 0.0
    assert sum(relay.lost for relay in city.relays.values()) > 0


async def _stall(city: City, chance: random.Random) -> None:
    relay = city.relays[chance.choice("ab")]
    relay.stall()
    await asyncio.sleep(chance.choice((0.5, 1.0, 3.0)))
    relay.go_on()


async def _cut(city: City, chance: random.Random) -> None:
    for _ in range(3):
        city.relays[chance.choice("abc")].cut()
        await asyncio.sleep(0.5)


async def _stop_server(city: City, chance: random.Random) -> None:
    city.server.pause()
    await asyncio.sleep(chance.choice((0.5, 1.0, 3.5)))
    city.server.resume()


async def _stop_gateway(city: City, chance: random.Random) -> None:
    process = city.nodes["b"].process
    process.send_signal(signal.SIGSTOP)
    await asyncio.sleep(chance.choice((0.5, 1.0, 3.5)))
    process.send_signal(signal.SIGCONT)


async def _stop_host(city: City, chance: random.Random) -> None:
    await city.signal_host("b", signal.SIGSTOP)
    await asyncio.sleep(chance.choice((0.5, 1.0, 3.0)))
    await city.signal_host("b", signal.SIGCONT)


async def _kill_host(city: City, chance: random.Random) -> None:
    await city.kill_host("b")


async def _kill_node(city: City, chance: random.Random) -> None:
    await city.kill("b")
    await asyncio.sleep(chance.choice((0.0, 2.0)))
    await city.start("b")


async def _kill_server(city: City, chance: random.Random) -> None:
    city.server.kill()
    await asyncio.sleep(chance.choice((0.0, 0.5, 2.5)))
    await city.server.start()


FAULTS: tuple[tuple[Fault, ...], ...] = (
    (_part_with_twins, _part),
    (_lossy, _stall, _cut),
    (_kill_node, _kill_host),
    (_stop_gateway, _stop_host, _stop_server),
    (_kill_server,),
)


async def play(folder: Path, seeds: range) -> None:
    """Play a round for each seed, in one cluster."""
    async with City(folder, seeds.start) as city:
        epochs: dict[tuple[str, int, str], str] = {}
        for seed in seeds:
            chance = random.Random(seed)
            fault = chance.choice(FAULTS[seed % len(FAULTS)])
            try:
                await _round(city, fault, chance, seed * NUMBERS, epochs)
            except BaseException as error:
                error.add_note(f"in the round of seed {seed}, {fault.__name__}")
                raise


async def _round(
    city: City, fault: Fault, chance: random.Random, first: int, epochs: dict[tuple[str, int, str], str]
) -> None:
    city.died.clear()
    asking = city.nodes["a"]
    begun = time.time()
    await asking.ask("load", seconds=SECONDS, first=first)
    await asyncio.sleep(0.7)
    await fault(city, chance)
    notes = await asking.ask("loaded")
    await city.whole()
    await asyncio.sleep(0.5)  # for the last news of what was lost
    found = list(broken(notes, city.journal, await city.letters(begun), AGENTS, city.died))
    assert not found, "\n".join(found[:20])
    answered = sum(not isinstance(outcome, str) for _, _, outcome, _ in notes["asks"])
    assert answered > len(notes["asks"]) // 10, f"{answered} of {len(notes['asks'])} asks were answered"
    await _check_epochs(city, epochs)


async def _check_epochs(city: City, epochs: dict[tuple[str, int, str], str]) -> None:
    """Each name is at one node, all nodes reach the same incarnation, and it has an epoch that none had before."""
    claims = [tuple(claim) for node in city.nodes.values() for claim in await node.ask("claims")]
    names = [name for name, _, _ in claims]
    assert sorted(set(names)) == sorted(names), f"a name is at two nodes: {claims}"
    heard = [await node.ask("who", names=AGENTS) for node in city.nodes.values()]
    assert heard[0] == heard[1] == heard[2], heard
    for name, number, node in claims:
        if name in heard[0]:
            assert epochs.setdefault((name, number, node), heard[0][name]) == heard[0][name], (name, number, node)


@pytest.fixture(autouse=True)
def _machines() -> None:
    why = Machines.refused()
    if why:
        pytest.skip(why)


@pytest.mark.timeout(300)
async def test_rounds_of_faults_between_machines(tmp_path: Path) -> None:
    await play(tmp_path, range(FIRST, FIRST + ROUNDS))


@pytest.mark.soak
@pytest.mark.timeout(3600)
async def test_many_rounds_of_faults_between_machines(tmp_path: Path) -> None:
    await play(tmp_path, range(1000, 1000 + MANY))
