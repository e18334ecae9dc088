"""Files of conversations: which are taken, which are refused, and several users of one."""

import asyncio
import sqlite3
import sys
from pathlib import Path

import pytest

from tests.support.conversations.talking import talking
from three_mode.conversations import ConversationOptions, Conversations
from three_mode.conversations.schema import APPLICATION
from three_mode.errors import ConversationBusy, ConversationFileError, TurnCutShort


def sql(path: Path, *statements: str) -> None:
    file = sqlite3.connect(path)
    for statement in statements:
        file.execute(statement)
    file.commit()
    file.close()


async def opened(path: Path) -> None:
    async with Conversations(path):
        pass


async def test_a_file_of_a_newer_version_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    sql(path, f"PRAGMA application_id={APPLICATION}", "PRAGMA user_version=99", "CREATE TABLE talk (x)")
    before = _read(path)
    with pytest.raises(ConversationFileError, match="newer version: its schema is 99, this one knows 3"):
        await opened(path)
    assert _read(path) == before


async def test_a_file_of_another_program_is_refused_and_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    sql(path, "CREATE TABLE song (title TEXT)")
    before = _read(path)
    with pytest.raises(ConversationFileError, match="another program"):
        await opened(path)
    assert _read(path) == before


async def test_a_file_that_is_no_database_or_is_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    _write(path, b"This is a letter, and not a database. " * 50)
    with pytest.raises(ConversationFileError, match=r"no file of conversations, or it is damaged"):
        await opened(path)
    with pytest.raises(ConversationFileError, match="cannot be opened"):
        await opened(tmp_path / "no such folder" / "t.db")
    good = tmp_path / "good.db"
    async with talking(good) as (talks, _, _):
        for number in range(40):
            await (await talks.open("a")).say(f"number {number} " * 20)
    raw = bytearray(_read(good))
    for at in range(4096, len(raw), 37):
        raw[at] ^= 0x5A
    _write(good, bytes(raw))
    async with talking(good) as (talks, _, _):
        with pytest.raises(ConversationFileError):
            await (await talks.open("a")).messages()


async def test_a_row_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with talking(path) as (talks, _, _):
        await (await talks.open("a")).say("one")
    sql(path, "UPDATE entry SET body = x'01ff'")
    async with talking(path) as (talks, _, _):
        with pytest.raises(ConversationFileError, match="cannot be read") as caught:
            await talks.open("a")
        assert caught.value.conversation == "a"


async def test_a_write_waits_for_another_process_and_then_says_who_is_busy(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with talking(path, options=ConversationOptions(busy=0.2)) as (talks, _, _):
        talk = await talks.open("a")
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(ConversationBusy, match="another process writes"):
            await talk.say("one")
        other.execute("ROLLBACK")
        other.close()
        assert (await talk.say("two")).content == "1: two"


TALKER = """
import asyncio, sys
from three_mode import LLMConnection
from three_mode.conversations import Conversations

async def main(path, who, turns):
    async with LLMConnection(model="tiny") as llm, Conversations(path, llm) as talks:
        talk = await talks.open("shared")
        for number in range(turns):
            await talk.say(f"{who} {number}", max_tokens=4)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


async def test_two_processes_share_one_conversation(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    children = [
        await asyncio.create_subprocess_exec(sys.executable, "-c", TALKER, str(path), who, "12") for who in ("a", "b")
    ]
    assert [await child.wait() for child in children] == [0, 0]
    async with Conversations(path) as talks:
        turns = await (await talks.open("shared")).turns()
        assert [turn.state for turn in turns] == ["answered"] * 24
        assert [turn.number for turn in turns] == list(range(1, 25))
        for who in ("a", "b"):
            assert [turn.text for turn in turns if turn.text.startswith(who)] == [f"{who} {n}" for n in range(12)]


async def test_two_openings_in_one_process_keep_turns_apart_too(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with talking(path) as (one, _, _), talking(path) as (other, _, _):
        talks = [await one.open("a"), await other.open("a")]
        answers = await asyncio.gather(*(talks[number % 2].say("x") for number in range(6)))
        assert {answer.content for answer in answers} == {f"{2 * n + 1}: x" for n in range(6)}


CUT = """
import asyncio, os, signal, sys
from three_mode.conversations import Conversations
from three_mode.conversations.said import messages_said

async def main(path):
    async with Conversations(path) as talks:
        talk = await talks.open("a")
        async with talk._held(None):
            await talk._begin(messages_said("cut"))
            os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main(sys.argv[1]))
"""


@pytest.mark.parametrize("on_cut", ["undo", "resume", "refuse"])
async def test_a_turn_that_a_crash_cut(tmp_path: Path, on_cut: str) -> None:
    path = tmp_path / "t.db"
    async with talking(path) as (talks, _, _):
        await (await talks.open("a")).say("one")
    child = await asyncio.create_subprocess_exec(sys.executable, "-c", CUT, str(path))
    assert await child.wait() == -9
    options = ConversationOptions(on_cut=on_cut)  # type: ignore[arg-type]
    async with talking(path, options=options) as (talks, _, _):
        talk = await talks.open("a")
        cut = await talk.cut()
        assert cut is not None
        assert (cut.text, cut.state) == ("cut", "open")
        if on_cut == "refuse":
            with pytest.raises(TurnCutShort, match="resume"):
                await talk.say("two")
            assert (await talk.resume()).content == "3: cut"
        answer = await talk.say("two")
        states = [(turn.state, turn.why) for turn in await talk.turns()]
        if on_cut == "undo":
            assert answer.content == "3: two"
            assert states == [("answered", ""), ("cut", "crash"), ("answered", "")]
        else:
            assert answer.content == "5: two"
            assert states == [("answered", "")] * 3
        assert await talk.cut() is None


def _read(path: Path) -> bytes:
    return path.read_bytes()


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
