"""A long conversation with a model on this computer, whose context it exceeds many times over."""

from pathlib import Path

import pytest

from three_mode import LLMConnection
from three_mode.conversations import Conversations, Window


@pytest.mark.timeout(600)
async def test_200_turns_on_a_small_context_never_exceed_it(tmp_path: Path) -> None:
    async with LLMConnection(model="tiny") as llm, Conversations(tmp_path / "t.db", llm) as talks:
        # The window is larger than any context: the model's own lowers it.
        talk = await talks.open("a", system="Be brief.", window=Window(tokens=100_000, keep_first=1))
        for number in range(200):
            words = "a few words more " * (1 + number * 7 % 20)
            reply = await talk.say(f"{number}: {words}", max_tokens=2)
            assert reply.finish_reason in ("stop", "length")
        assert len(await talk.turns()) == 200
