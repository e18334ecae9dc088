"""A long conversation with a model on this computer, whose context it exceeds many times over."""

from pathlib import Path
from typing import Literal

import pytest

from local_models import LoadOptions
from three_mode import LLMConnection
from three_mode.connection import ConnectionOptions
from three_mode.conversations import Conversations, Window
from three_mode.memory import Memory, MemoryOptions
from three_mode.messages import ToolResult
from three_mode.prompts import Persona

# The window is larger than any context: the model's own lowers it.
ENDLESS = Window(tokens=100_000, keep_first=1)


def with_context(tokens: int) -> LLMConnection:
    return LLMConnection(model="tiny", options=ConnectionOptions(local=LoadOptions(context=tokens)))


def words(number: int) -> str:
    return f"{number}: " + "a few words more " * (1 + number * 7 % 20)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("context", [2048, pytest.param(4096, marks=pytest.mark.soak)])
async def test_200_turns_never_exceed_the_context(tmp_path: Path, context: int) -> None:
    async with with_context(context) as llm, Conversations(tmp_path / "t.db", llm) as talks:
        answers = await llm.local_model("tiny")
        assert answers is not None
        assert await answers.context() == context, "the context can be larger than the one it was trained with"
        talk = await talks.open("a", system="Be brief.", window=ENDLESS)
        for number in range(200):
            reply = await talk.say(words(number), max_tokens=2)
            assert reply.finish_reason in ("stop", "length")
        assert len(await talk.turns()) == 200


@pytest.mark.timeout(600)
async def test_tools_persona_and_memory_count_within_the_context(tmp_path: Path) -> None:
    def look(at: Literal["sea", "pond"]) -> str:
        """Looks at a thing."""
        return f"{at} is blue. " * 2_000  # many times the context

    nova = Persona(name="Nova", traits=["patient", "brief"], style="Short sentences.")
    async with (
        with_context(2048) as llm,
        Conversations(tmp_path / "t.db", llm) as talks,
        Memory(tmp_path / "m.db", options=MemoryOptions(recall_tokens=300)) as memory,
    ):
        await memory.remember_many([f"a few words about {number}" for number in range(50)])
        talk = await talks.open("a", system="Be brief.", window=ENDLESS, tools=[look], persona=nova, memory=memory)
        shortened = 0
        for number in range(12):
            forced = {"tool_choice": "look"} if number % 4 == 0 else {}
            reply = await talk.say(words(number), max_tokens=40, temperature=0, **forced)
            shortened += any(step.kind == "left_out" and "results of tools" in str(step.why) for step in reply.steps)
        turns = await talk.turns()
        assert [turn.state for turn in turns] == ["answered"] * 12
        results = [
            part.content
            for turn in turns
            for message in turn.answered
            for part in message.parts
            if isinstance(part, ToolResult)
        ]
        assert shortened >= 3, "results that do not fit are shown shorter"
        assert max(len(str(result)) for result in results) > 20_000, "the log keeps them whole"
