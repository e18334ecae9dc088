"""A provider refuses a window that was counted as fitting: it is made tighter and asked again, and never for ever."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.conversations.talking import asked, talking
from three_mode.conversations import ConversationOptions, Window
from three_mode.errors import ContextLength, DeadlineExceeded, StreamInterrupted
from three_mode.memory import Memory, MemoryOptions
from three_mode.messages import LLMResponse, Step, ToolResult
from three_mode.testing import FOREVER, Answer, Fault, Seen, ToolCall, Turn

ROOM = 2_000  # tokens of the scripted model, of which each character is one: four times what is estimated
WINDOW = Window(tokens=1_500)
LONG = "some words about boats and lakes " * 4

REFUSALS = {
    "openai": {
        "error": {
            "message": "This model's maximum context length is {room} tokens. However, your messages resulted in "
            "{sent} tokens. Please reduce the length of the messages.",
            "type": "invalid_request_error",
            "param": "messages",
            "code": "context_length_exceeded",
        }
    },
    "anthropic": {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "prompt is too long: {sent} tokens > {room} maximum"},
    },
    "gemini": {
        "error": {
            "code": 400,
            "message": "The input token count ({sent}) exceeds the maximum number of tokens allowed ({room}).",
            "status": "INVALID_ARGUMENT",
        }
    },
    "ollama": {"error": "the input length exceeds the context length"},  # which names no numbers
}


def texts(value: Any) -> list[str]:
    """Every text of a body, wherever it stands."""
    if isinstance(value, dict):
        return [text for each in value.values() for text in texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in texts(each)]
    return [value] if isinstance(value, str) else []


class StrictModel:
    """Answers what has room, and refuses the rest in the words of its provider."""

    def __init__(self, provider: str, room: int = ROOM) -> None:
        self._refusal, self._room = json.dumps(REFUSALS[provider]), room
        self.refused: list[int] = []

    def __call__(self, seen: Seen) -> Turn | Answer:
        sent = sum(map(len, texts(seen.json.get("messages") or seen.json.get("contents"))))
        if sent <= self._room:
            return Turn(text=("well",))
        self.refused.append(sent)
        words = self._refusal.replace("{sent}", str(sent)).replace("{room}", str(self._room))
        return Answer(status=400, pieces=(words.encode(),))


def tightened(reply: LLMResponse) -> list[Step]:
    return [step for step in reply.steps if step.kind == "tightened"]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("provider", REFUSALS)
async def test_40_turns_on_a_model_with_less_room_than_was_counted(
    tmp_path: Path, provider: str, streamed: bool
) -> None:
    async with talking(tmp_path / "t.db", provider) as (talks, _, server):
        server.always(strict := StrictModel(provider))
        talk = await talks.open("a", window=WINDOW)
        steps: list[Step] = []
        for number in range(40):
            words = f"{number} {LONG}"
            if streamed:
                stream = talk.stream(words)
                assert await stream.text() == "well"
                reply = stream.response()
            else:
                reply = await talk.say(words)
            steps += tightened(reply)
        assert strict.refused, "the model has met its limit, or this test shows nothing"
        assert len(strict.refused) == len(steps) <= 2, "what a refusal says holds for the next turns"
        assert all("refused a prompt" in (step.why or "") for step in steps)
        turns = await talk.turns()
        assert [turn.state for turn in turns] == ["answered"] * 40
        assert len(server.seen) == 40 + len(steps)


async def test_a_model_that_refuses_all_is_asked_three_times(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, server):
        talk = await talks.open("a", window=WINDOW)
        for number in range(12):
            await talk.add(f"{number} {LONG}", "well")
        server.always(StrictModel("openai", room=1))
        with pytest.raises(ContextLength) as caught:
            await talk.say("and now?")
        assert 2 <= len(server.seen) <= 3
        assert (caught.value.room, caught.value.provider) == (1, "openai")
        assert (await talk.turns())[-1].why == "ContextLength"
        server.always(Turn(text=("well",)))
        assert (await talk.say("and now?")).content == "well", "the conversation can go on"


async def test_what_cannot_be_made_shorter_is_not_asked_again(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, server):
        server.always(StrictModel("openai"))
        talk = await talks.open("a", window=WINDOW)
        with pytest.raises(ContextLength):
            await talk.say("x" * (ROOM + 1))
        assert len(server.seen) == 1
        assert (await talk.say("shorter")).content == "well", "a longer message is refused by the model, not by us"
        with pytest.raises(ContextLength, match="openai"):
            await talk.say("x" * (ROOM + 1))
        assert len(server.seen) == 3


async def test_all_tries_share_one_deadline(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, server):
        talk = await talks.open("a", window=WINDOW)
        for number in range(12):
            await talk.add(f"{number} {LONG}", "well")
        refused = json.dumps(REFUSALS["ollama"]).encode()
        server.next(Answer(status=400, pieces=(refused,)), fault=Fault(stall_before_head=1.5))
        server.always(Turn(), fault=Fault(stall_before_head=FOREVER))
        began = asyncio.get_running_loop().time()
        with pytest.raises(DeadlineExceeded):
            await talk.say("and now?", within=2.0)
        assert len(server.seen) == 2
        assert asyncio.get_running_loop().time() - began < 3.4, "a time of its own for each would take 3.5 s"


async def test_a_partly_spoken_stream_is_not_asked_again(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, server):
        talk = await talks.open("a", window=WINDOW)
        for number in range(12):
            await talk.add(f"{number} {LONG}", "well")
        broken = (
            b'data: {"choices":[{"index":0,"delta":{"role":"assistant","content":"half"}}]}\n\n',
            b'data: {"error":{"message":"maximum context length is 10 tokens","code":"context_length_exceeded"}}\n\n',
        )
        head = ((b"content-type", b"text/event-stream"),)
        server.always(Answer(headers=head, pieces=broken, streamed=True))
        with pytest.raises(StreamInterrupted) as caught:
            await talk.stream("and now?").text()
        assert isinstance(caught.value.__cause__, ContextLength)
        assert len(server.seen) == 1
        assert (await talk.turns())[-1].answer == "half"


@pytest.mark.parametrize("streamed", [False, True])
async def test_a_round_that_is_refused_is_made_tighter_and_no_tool_runs_again(tmp_path: Path, streamed: bool) -> None:
    ran: list[str] = []

    def look(at: str) -> str:
        """Looks at something."""
        ran.append(at)
        return f"{at} is there. " * 20

    async with talking(tmp_path / "t.db") as (talks, _, server):
        strict = StrictModel("openai")

        def calling(seen: Seen) -> Turn | Answer:
            answer = strict(seen)
            rounds = sum(message["role"] == "tool" for message in seen.json["messages"])
            if isinstance(answer, Answer) or rounds >= 3:
                return answer
            return Turn(text=(), tool_calls=(ToolCall("look", {"at": f"lake{rounds}"}, f"c{rounds}"),))

        server.always(calling)
        talk = await talks.open("a", window=WINDOW, tools=[look])
        for number in range(9):
            await talk.add(f"{number} {LONG}", "well")
        if streamed:
            stream = talk.stream("Look at three lakes")
            assert await stream.text() == "well"
            reply = stream.response()
        else:
            reply = await talk.say("Look at three lakes")
        assert strict.refused
        assert len(tightened(reply)) == len(strict.refused)
        assert ran == ["lake0", "lake1", "lake2"]
        assert reply.content == "well"


async def test_descriptions_of_tools_count_within_the_window(tmp_path: Path) -> None:
    def look(at: str) -> str:
        return at

    look.__doc__ = "Looks. " + "It looks at what it is told to look at, from all sides. " * 40
    async with talking(tmp_path / "t.db") as (talks, _, server):
        window = Window(tokens=1200, margin=0)
        plain = await talks.open("plain", window=window)
        told = await talks.open("told", window=window, tools=[look])
        for talk in (plain, told):
            for number in range(30):
                await talk.add(f"{number} {LONG}", "well")
            await talk.say("and now?")
        sent = [len(seen.json["messages"]) for seen in server.seen]
        assert sent[1] < sent[0], "the tools take room that messages cannot have"
        small = await talks.open("small", window=Window(tokens=300), tools=[look])
        with pytest.raises(ContextLength, match="the tools alone are") as caught:
            await small.say("Hello")
        assert caught.value.field == "tools"
        options = ConversationOptions(window=Window(tokens=300), use_tools=False)
        unused = await talks.open("small", options=options, tools=[look])
        assert (await unused.say("Hello")).content.endswith("Hello")


async def test_results_that_have_no_room_are_shown_shorter_and_kept_whole(tmp_path: Path) -> None:
    def look(at: str) -> str:
        """Looks at something."""
        return f"{at} is there. " * (1_000 if at == "sea" else 2)

    async with talking(tmp_path / "t.db") as (talks, _, server):
        calls = tuple(ToolCall("look", {"at": at}, at) for at in ("sea", "pond"))
        server.next(Turn(text=(), tool_calls=calls, finish="tool_calls"))
        talk = await talks.open("a", window=Window(tokens=800), tools=[look])
        reply = await talk.say("Look at both")
        sea, pond = [message["content"] for message in asked(server.seen[-1]) if message["role"] == "tool"]
        assert pond == "pond is there. " * 2, "what is short is left alone"
        assert len(sea) < 3_000
        assert "[cut: the first " in sea
        (step,) = [step for step in reply.steps if step.kind == "left_out"]
        assert "characters fit the window" in str(step.why)
        kept = [part for message in await talk.messages() for part in message.parts if isinstance(part, ToolResult)]
        assert len(str(kept[0].content)) == len("sea is there. " * 1_000)
        assert (await talk.say("And now?")).content.endswith("And now?")


async def test_what_a_memory_has_no_room_for_is_among_the_steps(tmp_path: Path) -> None:
    async with (
        talking(tmp_path / "t.db") as (talks, _, _),
        Memory(tmp_path / "m.db", options=MemoryOptions(recall_tokens=80)) as memory,
    ):
        await memory.remember_many([f"kayak {number}: {LONG}" for number in range(5)])
        talk = await talks.open("a", memory=memory)
        reply = await talk.say("Which kayak?")
        assert [step.kind for step in reply.steps] == ["left_out", "attempt"]
        stream = talk.stream("Which kayak?")
        await stream.text()
        assert [step.kind for step in stream.response().steps] == ["left_out", "attempt"]
