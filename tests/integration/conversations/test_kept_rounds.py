"""Rounds of runs with tools in the file: pinned, forked, exported, searched and deleted as all else is."""

import json
import sqlite3
from pathlib import Path

import pytest

from tests.support.conversations.talking import asked, talking
from three_mode.conversations import Conversations, Talk, Window
from three_mode.conversations.schema import VERSION
from three_mode.messages import Message
from three_mode.testing import ScriptedProvider, ToolCall, Turn

ROLES = ["user", "assistant", "tool", "assistant", "tool", "assistant"]


def look(at: str) -> str:
    """Looks at something."""
    return f"a qwertzuiop at {at}"


def calls(server: ScriptedProvider, *places: str) -> None:
    for number, at in enumerate(places):
        asks = (ToolCall("look", {"at": at}, f"c{number}"),)
        server.next(Turn(text=(), tool_calls=asks, finish="tool_calls"))


async def looked(talks: Conversations, server: ScriptedProvider, window: Window | None = None) -> Talk:
    """A conversation whose first turn has two rounds, and the same ids of calls in both."""
    talk = await talks.open("a", tools=[look], window=window)
    calls(server, "sea", "pond")
    await talk.say("Look at both")
    return talk


def bytes_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def test_no_message_is_written_twice(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with talking(path) as (talks, _, server):
        talk = await looked(talks, server)
        assert [message.role for message in await talk.messages()] == ROLES
    with sqlite3.connect(path) as file:
        kinds = [kind for (kind,) in file.execute("SELECT kind FROM entry ORDER BY id")]
    assert kinds == [1, 0, 0, 0, 0, 2], "said, call, results, call, results, answered"


async def test_a_pinned_turn_keeps_its_rounds_in_a_long_conversation(tmp_path: Path) -> None:
    path, window = tmp_path / "t.db", Window(tokens=700)
    async with talking(path) as (talks, _, server):
        talk = await looked(talks, server, window)
        await talk.pin()
        for number in range(120):
            await talk.add(f"number {number} of many", "yes")
    async with talking(path) as (talks, _, server):
        talk = await talks.open("a", window=window)
        await talk.say("now")
        shown = asked(server.seen[-1])
        assert [message["role"] for message in shown[:6]] == ROLES
        assert len(shown) < 100
        await talk.pin(1, on=False)
        await talk.say("again")
        assert "qwertzuiop" not in str(asked(server.seen[-1]))
    async with talking(path) as (talks, _, server):
        talk = await talks.open("a", window=Window(tokens=700, keep_first=2))
        await talk.say("and again")
        roles = [message["role"] for message in asked(server.seen[-1])]
        assert roles[:4] == ["user", "assistant", "tool", "user"], "a call that is among the first keeps its results"


async def test_forks_exports_and_searches_have_the_rounds(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, server):
        talk = await looked(talks, server)
        await talk.say("two")
        fork = await talk.fork(after=1)
        assert [message.role for message in await fork.messages()] == ROLES
        copy = await talks.open(await talks.import_(json.loads(json.dumps(await talk.export())), "copy"))
        assert await copy.messages() == await talk.messages()
        found = await talks.search("qwertzuiop pond", conversation="a")
        assert [(each.turn, each.role) for each in found] == [(1, "assistant")] * 2, "the result, and the answer"


async def test_deletion_reaches_the_rounds(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, server):
        await looked(talks, server)
        await talks.delete("a")
        assert await talks.search("qwertzuiop") == ()
    assert b"qwertzuiop" not in bytes_in(tmp_path)


@pytest.mark.parametrize("version", [1, 2])
async def test_a_file_of_a_version_before_is_taken_as_it_is(tmp_path: Path, version: int) -> None:
    path = tmp_path / "t.db"
    async with talking(path) as (talks, _, _):
        await (await talks.open("a")).say("one qwertz")
    with sqlite3.connect(path) as file:  # as a kill leaves it: a row of `fresh` for each that is not indexed
        file.execute(f"PRAGMA user_version={version}")
        file.execute("INSERT INTO word (word) VALUES ('delete-all')")
        file.execute("INSERT INTO fresh (id) SELECT id FROM entry WHERE kind < 3")
    async with talking(path) as (talks, _, server):
        talk = await looked(talks, server)
        first, *_ = await talk.messages()
        assert first == Message("user", "one qwertz")
        await talk.add("two qwertz", "yes")
        assert {found.turn for found in await talks.search("qwertz")} == {1, 3}
    with sqlite3.connect(path) as file:
        assert file.execute("PRAGMA user_version").fetchone() == (VERSION,)
