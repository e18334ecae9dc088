"""Kill -9 in the middle of a turn with tools: whole rounds survive, no tool runs unseen, and the next `say` works."""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.conversations.talking import asked, talking
from three_mode.conversations import ConversationOptions, Talk
from three_mode.conversations.rounds import UNKNOWN
from three_mode.errors import ServerError, TurnCutShort
from three_mode.messages import ToolCall as Call
from three_mode.messages import ToolResult
from three_mode.testing import FOREVER, Answer, Fault, Seen, ToolCall, Turn

# Asks for two letters, and writes a line for each that is sent. A letter to "crash" ends the process.
CHILD = """
import asyncio, os, signal, sys
from three_mode import LLMConnection
from three_mode.conversations import ConversationOptions, Conversations

def send(to: str) -> str:
    "Sends a letter."
    with open(sys.argv[3], "a") as letters:
        letters.write(to + "\\n")
    if to == "crash":
        os.kill(os.getpid(), signal.SIGKILL)
    return f"sent to {to}"

async def main(path, url):
    async with LLMConnection(base_url=url, api_key="k", model="m") as llm, Conversations(path, llm) as talks:
        talk = await talks.open("a", tools=[send])
        await talk.say("Write to them")

asyncio.run(main(sys.argv[1], sys.argv[2]))
"""


def writes_to(*names: str) -> Any:
    """A model that sends a letter a round, and then says that it is done."""

    def answer(seen: Seen) -> Turn:
        messages = asked(seen)
        since = max(n for n, message in enumerate(messages) if message["role"] == "user")
        rounds = sum(message["role"] == "tool" for message in messages[since:])
        if rounds < len(names):
            return Turn(text=(), tool_calls=(ToolCall("send", {"to": names[rounds]}, "c"),), finish="tool_calls")
        return Turn(text=("done",))

    return answer


class Letters:
    """What was sent, by any process."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "letters"

    @property
    def sent(self) -> list[str]:
        return self.path.read_text().split() if self.path.exists() else []

    def send(self, to: str) -> str:
        """Sends a letter."""
        with self.path.open("a") as letters:
            letters.write(to + "\n")
        return f"sent to {to}"


async def start(path: Path, url: str, letters: Letters) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-c", CHILD, str(path), url + "/v1", str(letters.path))


def pairs_are_whole(messages: list[dict[str, Any]]) -> bool:
    calls = [call["id"] for message in messages for call in message.get("tool_calls") or ()]
    return sorted(calls) == sorted(message["tool_call_id"] for message in messages if message["role"] == "tool")


async def killed_between_rounds(path: Path, server: Any, letters: Letters) -> None:
    """The first round is whole when the process ends: it is being asked for the second one."""
    server.next(writes_to("bob", "eve"))
    server.next(Turn(), fault=Fault(stall_before_head=FOREVER))
    child = await start(path, server.url, letters)
    await server.until(lambda seen: len(seen.seen) == 2)
    child.kill()
    assert await child.wait() == -signal.SIGKILL
    assert letters.sent == ["bob"]


async def killed_in_a_tool(path: Path, server: Any, letters: Letters) -> None:
    server.next(writes_to("crash"))
    child = await start(path, server.url, letters)
    assert await child.wait() == -signal.SIGKILL
    assert letters.sent == ["crash"]


async def opened(talks: Any, letters: Letters, on_cut: str = "undo") -> Talk:
    options = ConversationOptions(on_cut=on_cut)  # type: ignore[arg-type]
    talk: Talk = await talks.open("a", tools=[letters.send], options=options)
    return talk


@pytest.mark.parametrize("killed", [killed_between_rounds, killed_in_a_tool])
async def test_the_next_turn_knows_what_ran(tmp_path: Path, killed: Any) -> None:
    path, letters = tmp_path / "t.db", Letters(tmp_path)
    async with talking(path, speaks="http/1.1") as (talks, _, server):
        await killed(path, server, letters)
        before = letters.sent
        server.always(writes_to())
        talk = await opened(talks, letters)
        assert (await talk.cut()).state == "open"  # type: ignore[union-attr]
        assert (await talk.say("Did you write to them?")).content == "done"
        assert letters.sent == before, "no tool runs again"
        shown = asked(server.seen[-1])
        assert [message["role"] for message in shown] == ["user", "assistant", "tool", "assistant", "user"]
        assert pairs_are_whole(shown)
        said = "sent to bob" if killed is killed_between_rounds else UNKNOWN
        assert said in shown[2]["content"]
        turns = await talk.turns()
        assert [(turn.state, turn.why) for turn in turns] == [("cut", "crash"), ("answered", "")]
        assert isinstance(turns[0].answered[0].parts[0], Call)


@pytest.mark.parametrize("killed", [killed_between_rounds, killed_in_a_tool])
async def test_a_turn_that_is_resumed_goes_on_from_its_last_round(tmp_path: Path, killed: Any) -> None:
    path, letters = tmp_path / "t.db", Letters(tmp_path)
    async with talking(path, speaks="http/1.1") as (talks, _, server):
        await killed(path, server, letters)
        before = letters.sent
        talk = await opened(talks, letters, "refuse")
        with pytest.raises(TurnCutShort, match="resume"):
            await talk.say("Hello?")
        server.always(writes_to("bob", "eve"))
        assert (await talk.resume()).content == "done"
        assert letters.sent == [*before, "eve"], "the first round does not run again"
        (turn,) = await talk.turns()
        assert turn.state == "answered"
        roles = [message.role for message in turn.answered]
        assert roles == ["assistant", "tool", "assistant", "tool", "assistant"]
        results = [part.content for message in turn.answered for part in message.parts if isinstance(part, ToolResult)]
        assert results == ["sent to bob" if killed is killed_between_rounds else UNKNOWN, "sent to eve"]
        assert pairs_are_whole(asked(server.seen[-1]))
        await talk.say("And now?")
        assert pairs_are_whole(asked(server.seen[-1]))


async def test_a_turn_that_is_resumed_by_the_next_say(tmp_path: Path) -> None:
    path, letters = tmp_path / "t.db", Letters(tmp_path)
    async with talking(path, speaks="http/1.1") as (talks, _, server):
        await killed_between_rounds(path, server, letters)
        server.always(writes_to("bob"))
        talk = await opened(talks, letters, "resume")
        server.next(Turn(text=("resumed",)))
        server.next(Turn(text=("next",)))
        assert (await talk.say("And now?")).content == "next"
        assert letters.sent == ["bob"]
        assert [turn.answer for turn in await talk.turns()] == ["resumed", "next"]


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_run_that_fails_in_a_later_round_stays_in_the_conversation(tmp_path: Path, streamed: bool) -> None:
    path, letters = tmp_path / "t.db", Letters(tmp_path)
    async with talking(path) as (talks, _, server):
        talk = await opened(talks, letters)
        server.next(writes_to("bob"))
        server.next(Answer(status=500), times=3)
        with pytest.raises(ServerError):
            await (talk.stream("Write to him").text() if streamed else talk.say("Write to him"))
        assert letters.sent == ["bob"]
        server.always(writes_to())
        await talk.say("Did you?")
        shown = asked(server.seen[-1])
        assert pairs_are_whole(shown)
        assert "sent to bob" in str(shown)
        first, _ = await talk.turns()
        assert (first.state, first.why) == ("cut", "ServerError")
        assert (await talk.undo()).text == "Did you?"  # type: ignore[union-attr]
        assert (await talk.undo()).why == "ServerError"  # type: ignore[union-attr]
        await talk.say("Anew")
        assert len(asked(server.seen[-1])) == 1, "a program may take it back"


async def test_a_run_that_is_cancelled_in_a_tool_stays_in_the_conversation(tmp_path: Path) -> None:
    running = asyncio.Event()

    async def wait(to: str) -> str:
        """Waits."""
        running.set()
        await asyncio.sleep(FOREVER)
        return ""

    async with talking(tmp_path / "t.db") as (talks, _, server):
        calls = (ToolCall("wait", {"to": "x"}, "c"),)
        server.next(Turn(text=(), tool_calls=calls, finish="tool_calls"))
        talk = await talks.open("a", tools=[wait])
        task = asyncio.ensure_future(talk.say("Wait"))
        await running.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await talk.say("And now?")
        shown = asked(server.seen[-1])
        assert pairs_are_whole(shown)
        assert UNKNOWN in str(shown)
        exported = await talk.export()
        await talks.import_(exported, "copy")
        assert await (await talks.open("copy")).messages() == await talk.messages()
        assert [info.turns for info in await talks.list()] == [2, 2]
        assert (await (await talk.fork(after=1)).messages())[-1].role == "assistant"
