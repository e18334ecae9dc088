"""Conversations with the tools, the memory and the persona of the library."""

from pathlib import Path

import pytest

from tests.support.conversations.talking import asked, talking
from three_mode.conversations import ConversationOptions
from three_mode.errors import ConfigurationError
from three_mode.memory import Memory, MemoryOptions
from three_mode.messages import Finish, LLMResponse, ToolResult
from three_mode.prompts import Persona
from three_mode.testing import ToolCall as Asked
from three_mode.testing import Turn
from three_mode.tools import RunFinished, RunReply, ToolFinished, Tools


def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


def calls(*sums: tuple[int, int]) -> Turn:
    asks = tuple(Asked("add", {"a": a, "b": b}, f"c{number}") for number, (a, b) in enumerate(sums))
    return Turn(text=(), tool_calls=asks, finish="tool_calls")


async def test_a_turn_with_tools_is_kept_with_its_calls_and_results(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with talking(path) as (talks, _, server):
        server.next(calls((2, 2), (20, 1)))
        server.next(Turn(text=("4 and 21",)))
        talk = await talks.open("a", tools=Tools([add]))
        reply = await talk.say("What are 2+2 and 20+1?")
        assert reply.content == "4 and 21"
        assert reply.usage.input_tokens == 24, "of both rounds"
        assert [message.role for message in await talk.messages()] == ["user", "assistant", "tool", "assistant"]
        (turn,) = await talk.turns()
        results = [part.content for part in turn.answered[1].parts if isinstance(part, ToolResult)]
        assert results == ["4", "21"]
        assert turn.answer == "4 and 21"
    async with talking(path) as (talks, _, server):
        await (await talks.open("a")).say("Thanks")
        assert [message["role"] for message in asked(server.seen[0])] == [
            "user",
            "assistant",
            "tool",
            "tool",
            "assistant",
            "user",
        ]


async def test_a_stream_with_tools_gives_the_events_of_the_run(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, server):
        server.next(calls((2, 2)))
        server.next(Turn(text=("it is ", "4")))
        talk = await talks.open("a", tools=[add], options=ConversationOptions(tools_at_once=1))
        async with talk.stream("What is 2+2?") as stream:
            events = [event async for event in stream]
        assert "".join(event.text for event in events) == "it is 4"
        assert any(isinstance(event, ToolFinished) for event in events)
        assert isinstance(events[-1], RunFinished)
        assert [message.role for message in await talk.messages()] == ["user", "assistant", "tool", "assistant"]
        without = await talks.open("a", tools=[add], options=ConversationOptions(use_tools=False))
        assert (await without.say("and now?")).content.endswith("and now?")
        assert "tools" not in server.seen[-1].json


async def test_rounds_are_limited_and_a_run_that_ends_so_is_kept_whole(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, server):
        server.next(calls((1, 1)), times=2)
        talk = await talks.open("a", tools=[add], options=ConversationOptions(most_rounds=2))
        await talk.say("Go on for ever")
        assert len(server.seen) == 2
        assert (await talk.say("and now?")).content.endswith("and now?"), "every call has its result"


async def test_memory_and_persona_of_the_library(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, server), Memory(tmp_path / "m.db") as memory:
        await memory.remember("Alice prefers a red kayak")
        nova = Persona(name="Nova", mood="calm")
        talk = await talks.open("a", system="Be brief.", persona=nova, memory=memory)
        await talk.say("Which kayak does Alice prefer?")
        shown = asked(server.seen[0])
        assert shown[0]["content"].startswith("Be brief.\n\nYou are Nova.")
        assert shown[0]["content"].endswith("Your mood now: calm")
        assert "red kayak" in shown[1]["content"]
        assert shown[1]["content"].endswith("Which kayak does Alice prefer?")
        assert (await talk.messages())[1].text == "Which kayak does Alice prefer?", "the log keeps what was said"


def left_out(reply: LLMResponse | Finish) -> list[str]:
    return [step.why or "" for step in reply.steps if step.kind == "left_out"]


async def test_what_of_the_memory_had_no_room_is_in_the_steps(tmp_path: Path) -> None:
    """Of a whole answer, of a stream and of runs with tools: once, before the steps of the call."""
    options = MemoryOptions(recall_tokens=120)
    async with talking(tmp_path / "t.db") as (talks, _, _), Memory(tmp_path / "m.db", options=options) as memory:
        await memory.remember_many([f"tea {n} " + "and more " * 20 for n in range(8)])
        talk = await talks.open("a", memory=memory)
        reply = await talk.say("Which tea?")
        (why,) = left_out(reply)
        assert "of 8 lines left out" in why
        assert [step.kind for step in reply.steps] == ["left_out", "attempt"]
        async with talk.stream("Which tea?") as stream:
            chunks = [chunk async for chunk in stream]
        assert isinstance(chunks[-1], Finish)
        assert left_out(chunks[-1]) == left_out(stream.response()) == [why]
        tooled = await talks.open("b", memory=memory, tools=[add])
        assert left_out(await tooled.say("Which tea?")) == [why]
        async with tooled.stream("Which tea?") as stream:
            events = [event async for event in stream]
        assert isinstance(events[-1], RunFinished)
        assert left_out(events[-1].reply) == left_out(stream.response()) == [why]
        assert not any(left_out(event) for event in events if isinstance(event, Finish)), "a round is not the run"
        plain = await talks.open("c")
        assert left_out(await plain.say("Which tea?")) == []


async def test_calls_of_one_reply_and_money_are_limited_too(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, server):
        server.next(calls((1, 1), (2, 2), (3, 3)))
        talk = await talks.open("a", tools=[add], options=ConversationOptions(most_calls=2))
        reply = await talk.say("Add all")
        assert isinstance(reply, RunReply)
        assert [outcome.status for outcome in reply.outcomes] == ["ok", "ok", "not_run"]
        server.next(calls((1, 1)))
        talk = await talks.open("a", tools=[add], options=ConversationOptions(budget=0.01))
        reply = await talk.say("Add again")
        assert isinstance(reply, RunReply)
        assert (reply.ended, reply.rounds) == ("budget", 1), "nobody knows what this model costs"
        await talk.say("and now?")
        for wrong in ({"budget": 0}, {"most_calls": 0}):
            with pytest.raises(ConfigurationError):
                ConversationOptions(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("provider", ["anthropic", "gemini"])
async def test_signatures_of_thinking_go_back_verbatim_from_the_file(tmp_path: Path, provider: str) -> None:
    path = tmp_path / "t.db"

    def signatures(value: object) -> list[str]:
        if isinstance(value, dict):
            own = [str(value[name]) for name in ("signature", "thoughtSignature") if value.get(name)]
            return own + [found for each in value.values() for found in signatures(each)]
        return [found for each in value for found in signatures(each)] if isinstance(value, list) else []

    async with talking(path, provider) as (talks, _, server):
        thinks = Turn(thinking=("hm",), text=(), tool_calls=(Asked("add", {"a": 2, "b": 2}, "c"),), finish="tool_calls")
        server.next(thinks)
        server.always(Turn(text=("4",)))
        talk = await talks.open("a", tools=[add])
        await talk.say("What is 2+2?")
        in_the_run = signatures(server.seen[-1].json)
        assert in_the_run, "the second round has what the first one signed"
    async with talking(path, provider) as (talks, _, server):
        server.always(Turn(text=("yes",)))
        await (await talks.open("a", tools=[add])).say("Sure?")
        assert signatures(server.seen[-1].json) == in_the_run
