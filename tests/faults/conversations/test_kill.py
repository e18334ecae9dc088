"""Kill -9 at random moments: whole turns survive, and the next `say` works."""

import asyncio
import random
import sys
from pathlib import Path

import pytest

from three_mode import LLMConnection
from three_mode.conversations import Conversations

# Says what the next number is, and writes a line for each turn whose answer it has.
CHILD = """
import asyncio, sys
from three_mode import LLMConnection
from three_mode.conversations import Conversations

async def main(path):
    async with LLMConnection(model="tiny") as llm, Conversations(path, llm) as talks:
        talk = await talks.open("a")
        await llm.prepare("tiny")
        print("ready", flush=True)
        number = len(await talk.turns())
        while True:
            await talk.say(f"number {number} " * 10, max_tokens=2)
            print(number, flush=True)
            number += 1

asyncio.run(main(sys.argv[1]))
"""


async def killed(path: Path, seconds: float) -> int:
    """Run the child until it is killed; how many turns it had answers for."""
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, str(path), stdout=asyncio.subprocess.PIPE)
    assert child.stdout is not None
    assert await child.stdout.readline() == b"ready\n"
    await asyncio.sleep(seconds)
    child.kill()
    rest = await child.stdout.read()
    assert await child.wait() == -9
    return len(rest.split())


async def check(path: Path, answered: int) -> int:
    async with LLMConnection(model="tiny") as llm, Conversations(path, llm) as talks:
        talk = await talks.open("a")
        turns = await talk.turns()
        whole = [turn for turn in turns if turn.state == "answered"]
        assert len(whole) >= answered, "a turn whose answer the caller had"
        assert all(turn.said and turn.model == "tiny" for turn in whole)
        assert [turn.number for turn in turns] == list(range(1, len(turns) + 1))
        assert [turn.state for turn in turns[:-1] if turn.state == "open"] == []
        assert (await talk.say("next", max_tokens=2)).finish_reason in ("stop", "length")  # it may have nothing to say
        assert len(await talks.search("next", conversation="a", most=10_000)) >= 1
        return len(whole) + 1


async def kill_often(path: Path, times: int, seed: int) -> None:
    chance = random.Random(seed)
    answered = 0
    for _ in range(times):
        answered += await killed(path, chance.uniform(0.0, 0.12))
        answered = await check(path, answered)


@pytest.mark.timeout(300)
async def test_25_kills(tmp_path: Path) -> None:
    await kill_often(tmp_path / "t.db", 25, 1)


@pytest.mark.timeout(1800)
@pytest.mark.soak
async def test_200_kills(tmp_path: Path) -> None:
    await kill_often(tmp_path / "t.db", 200, 2)
