"""Kill -9 at random moments of turns with tools: no tool has run that the log does not know, and no pair is parted."""

import asyncio
import random
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.conversations.talking import asked, talking
from three_mode.messages import ToolCall as Call
from three_mode.messages import ToolResult
from three_mode.testing import ScriptedProvider, Seen, ToolCall, Turn

# Goes on and on with turns of three rounds; each tool call leaves a line.
CHILD = """
import asyncio, os, sys
from three_mode import LLMConnection
from three_mode.conversations import Conversations, Window

letters = os.open(sys.argv[3], os.O_CREAT | os.O_WRONLY | os.O_APPEND)

def send(to: str) -> str:
    "Sends a letter."
    os.write(letters, f"{to}\\n".encode())
    return "sent to " + to

async def main(path, url):
    async with LLMConnection(base_url=url, api_key="k", model="m") as llm, Conversations(path, llm) as talks:
        talk = await talks.open("a", tools=[send], window=Window(tokens=1000))
        print("ready", flush=True)
        while True:
            await talk.say("Write to them")

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


class Writer:
    """A model that sends two letters in each of three rounds, each to somebody new."""

    def __init__(self) -> None:
        self._number = 0

    def __call__(self, seen: Seen) -> Turn:
        messages = asked(seen)
        calls = [call["id"] for message in messages for call in message.get("tool_calls") or ()]
        assert sorted(calls) == sorted(message["tool_call_id"] for message in messages if message["role"] == "tool")
        since = max(n for n, message in enumerate(messages) if message["role"] == "user")
        if sum(message["role"] == "assistant" for message in messages[since:]) == 3:
            return Turn(text=("done",))
        self._number += 2
        pair = (self._number - 1, self._number)
        return Turn(text=(), tool_calls=tuple(ToolCall("send", {"to": f"n{n}"}, f"c{n}") for n in pair))


async def killed(path: Path, server: ScriptedProvider, letters: Path, seconds: float) -> None:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, str(path), server.url + "/v1", str(letters), stdout=asyncio.subprocess.PIPE
    )
    assert child.stdout is not None
    assert await child.stdout.readline() == b"ready\n"
    await asyncio.sleep(seconds)
    child.kill()
    assert await child.wait() == -9


def sent_to(letters: Path) -> list[str]:
    return letters.read_text().split() if letters.exists() else []


async def check(talks: Any, letters: Path) -> None:
    talk = await talks.open("a")
    assert (await talk.say("Are you there?")).content
    parts = [part for message in await talk.messages() for part in message.parts]
    calls = {part.id: part.arguments["to"] for part in parts if isinstance(part, Call)}
    results = [part.call_id for part in parts if isinstance(part, ToolResult)]
    assert sorted(results) == sorted(calls), "every call has its result, once"
    sent = sent_to(letters)
    assert set(sent) <= set(calls.values()), "a tool has run that the log does not know"
    assert len(set(sent)) == len(sent), "a tool has run twice"
    states = [turn.state for turn in await talk.turns()]
    assert "open" not in states


async def kill_often(folder: Path, times: int, seed: int) -> None:
    chance, writer = random.Random(seed), Writer()
    path, letters = folder / "t.db", folder / "letters"
    async with talking(path, speaks="http/1.1") as (talks, _, server):
        for _ in range(times):
            server.always(writer)
            await killed(path, server, letters, chance.uniform(0.0, 0.5))
            server.always(Turn(text=("yes",)))
            await check(talks, letters)
        assert sent_to(letters), "tools have run, or this test shows nothing"


@pytest.mark.timeout(300)
async def test_20_kills(tmp_path: Path) -> None:
    await kill_often(tmp_path, 20, 3)


@pytest.mark.timeout(1800)
@pytest.mark.soak
async def test_200_kills(tmp_path: Path) -> None:
    await kill_often(tmp_path, 200, 4)
