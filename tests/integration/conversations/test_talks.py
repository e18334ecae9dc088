"""Conversations with a provider on a real socket: turns, streams, forks, undo, what is kept and what is not."""

import asyncio
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.support.conversations.talking import asked, echo, talking
from three_mode.conversations import ConversationOptions, Conversations, Talk, Window
from three_mode.errors import (
    ConversationBusy,
    ConversationError,
    InvalidRequest,
    NoSuchConversation,
    ServerError,
    StreamInterrupted,
)
from three_mode.messages import Image, LLMRequest, LLMResponse, Message, Text, Thinking, ToolCall, ToolResult
from three_mode.testing import FOREVER, Answer, Fault, Turn
from three_mode.testing import ToolCall as Asked


def said(messages: tuple[Message, ...]) -> list[tuple[str, str]]:
    return [(message.role, message.text) for message in messages]


async def test_a_turn_builds_on_those_before_it(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, server):
        talk = await talks.open("alice/1", system="Be brief.")
        assert (await talk.say("one")).content == "2: one"
        assert (await talk.say("two", temperature=0)).content == "4: two"
        assert said(await talk.messages()) == [
            ("system", "Be brief."),
            ("user", "one"),
            ("assistant", "2: one"),
            ("user", "two"),
            ("assistant", "4: two"),
        ]
        assert [message["role"] for message in asked(server.seen[1])] == ["system", "user", "assistant", "user"]
        assert server.seen[1].json["temperature"] == 0
        first, second = await talk.turns()
        assert (first.state, first.text, first.answer, first.provider) == ("answered", "one", "2: one", "openai")
        assert (second.number, second.usage.input_tokens, second.finish_reason) == (2, 12, "stop")


async def test_it_goes_on_where_it_was_after_the_file_was_closed(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with talking(path) as (talks, _, _):
        await (await talks.open("a", system="Be brief.")).say("one")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with talking(path) as (talks, _, _):
        assert (await (await talks.open("a")).say("two")).content == "4: two"
        assert (await (await talks.open("a", system="Be long.")).say("three")).content == "6: three"
        assert (await (await talks.open("a")).messages())[0].text == "Be long."
        assert (await (await talks.open("b")).say("one")).content == "1: one", "another conversation knows nothing"
        with pytest.raises(NoSuchConversation, match="no conversation 'c'"):
            await talks.open("c", create=False)


async def test_thinking_calls_and_images_are_kept_with_all_their_parts(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    picture = Image(data=b"\x89PNG", mime="image/png")
    async with talking(path, "anthropic") as (talks, _, server):
        turn = Turn(thinking=("hm",), text=("look",), tool_calls=(Asked("see", {"at": 1}, "c1"),), finish="tool_calls")
        server.next(turn)
        talk = await talks.open("a")
        await talk.say(["What is this?", picture])
    async with talking(path, "anthropic") as (talks, _, server):
        talk = await talks.open("a")
        messages = await talk.messages()
        assert messages[0].parts == (Text("What is this?"), picture)
        assert messages[1].parts == (
            Thinking("hm", "c2lnbmVk", provider="anthropic"),
            Text("look"),
            ToolCall("c1", "see", {"at": 1}),
        )
        await talk.say(ToolResult("c1", "a boat"))
        back = asked(server.seen[0])
        assert back[1]["content"][0] == {"type": "thinking", "thinking": "hm", "signature": "c2lnbmVk"}
        assert back[2]["content"][0]["tool_use_id"] == "c1"
        with pytest.raises(InvalidRequest, match="do not match"):
            await talk.say(ToolResult("c9", "nobody asked"))
        assert len(await talk.messages()) == 4, "what was refused is no part of it"


async def test_a_stream_is_kept_as_a_whole_answer_is(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, _):
        talk = await talks.open("a")
        pieces = [chunk.text async for chunk in talk.stream("one")]
        assert "".join(pieces) == "1: one"
        stream = talk.stream("two")
        assert await stream.text() == "3: two"
        assert stream.response().usage.input_tokens == 12
        assert said(await talk.messages())[2:] == [("user", "two"), ("assistant", "3: two")]


async def test_a_stream_that_is_left_keeps_the_text_that_came(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with talking(path) as (talks, _, server):
        talk = await talks.open("a")
        server.next(Turn(text=("first ", "second")), fault=Fault(stall_after=2))
        async with talk.stream("one") as stream:
            async for chunk in stream:
                if chunk.text:
                    break
        assert (await talk.say("two")).content == "3: two"
        server.next(Turn(text=("half ", "whole")), fault=Fault(cut_after=2))
        with pytest.raises(StreamInterrupted):
            await talk.stream("three").text()
        server.next(Answer(status=500), times=3)
        with pytest.raises(ServerError):
            await talk.stream("four").text()
    async with talking(path) as (talks, _, _):
        talk = await talks.open("a")
        assert said(await talk.messages()) == [
            ("user", "one"),
            ("assistant", "first "),
            ("user", "two"),
            ("assistant", "3: two"),
            ("user", "three"),
            ("assistant", "half "),
        ]
        assert [turn.state for turn in await talk.turns()] == ["answered"] * 3 + ["cut"]
        assert (await talk.turns())[0].finish_reason == "cancelled"


async def test_a_call_that_fails_or_is_cancelled_leaves_the_conversation_as_it_was(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, server):
        talk = await talks.open("a")
        await talk.say("one")
        server.next(Answer(status=500), times=3)
        with pytest.raises(ServerError):
            await talk.say("two")
        server.next(Turn(), fault=Fault(stall_before_head=FOREVER))
        task = asyncio.ensure_future(talk.say("three"))
        await server.until(lambda seen: len(seen.seen) == 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await talk.say("four")).content == "3: four"
        assert [(turn.state, turn.why) for turn in await talk.turns()] == [
            ("answered", ""),
            ("cut", "ServerError"),
            ("cut", "cancelled"),
            ("answered", ""),
        ]


async def test_two_turns_at_once_come_one_after_the_other_or_are_refused(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, _):
        talk, same = await talks.open("a"), await talks.open("a")
        answers = await asyncio.gather(*(each.say("x") for each in (talk, same, talk, same)))
        assert sorted(answer.content for answer in answers) == ["1: x", "3: x", "5: x", "7: x"]
        strict = await talks.open("a", options=ConversationOptions(at_once="refuse"))
        results = await asyncio.gather(strict.say("y"), strict.say("z"), return_exceptions=True)
        assert [type(result) for result in results] == [LLMResponse, ConversationBusy]
        assert len(await talk.turns()) == 5


async def test_undo_takes_the_last_turn_back_and_the_log_keeps_it(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, _):
        talk = await talks.open("a")
        assert await talk.undo() is None
        for word in ("one", "two", "three"):
            await talk.say(word)
        taken = await talk.undo()
        assert taken is not None
        assert (taken.text, taken.number) == ("three", 3)
        assert (await talk.undo()).text == "two"  # type: ignore[union-attr]
        assert (await talk.say("four")).content == "3: four"
        assert [turn.state for turn in await talk.turns()] == ["answered", "undone", "undone", "answered"]
        assert await talks.search("three") == ()


async def test_a_fork_goes_its_own_way_and_outlives_its_parent(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, _):
        talk = await talks.open("a", system="Be brief.")
        for word in ("one", "two", "three"):
            await talk.say(word)
        fork = await talk.fork()
        early = await talk.fork("early", after=1)
        assert (fork.name, early.name) == ("a~2", "early")
        assert (await fork.say("four")).content == "8: four"
        assert (await early.say("five")).content == "4: five"
        assert (await talk.say("six")).content == "8: six"
        await fork.undo()
        await fork.undo()
        assert said(await fork.messages())[-1] == ("assistant", "4: two")
        deeper = await (await talks.open("early")).fork("deeper")
        with pytest.raises(ConversationError, match="there is a conversation 'early' already"):
            await talk.fork("early")
        with pytest.raises(ConversationError, match="no turn 9"):
            await talk.fork(after=9)
        infos = {info.name: (info.turns, info.fork_of) for info in await talks.list()}
        assert infos == {"a": (4, None), "a~2": (2, "a"), "early": (2, "a"), "deeper": (2, "early")}
        await talk.delete()
        assert said(await deeper.messages()) == said(await early.messages())
        assert (await deeper.say("seven")).content == "6: seven"
        assert [found.conversation for found in await talks.search("one")] != []
        assert await talks.search("six") == (), "no fork shows it"
        for name in ("a~2", "early", "deeper"):
            await talks.delete(name)
        assert await talks.list() == ()
        assert await talks.search("one") == ()


async def test_search_finds_words_in_one_conversation_or_in_all(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, _):
        a, b = await talks.open("a"), await talks.open("b/1")
        await a.say("A kayak on the Ä lake, at last")
        await b.say("kayaks are not canoes")
        await b.say("the lake is cold")
        found = await talks.search("lake kayak", conversation="a")
        assert {(each.conversation, each.turn, each.role) for each in found} == {
            ("a", 1, "user"),
            ("a", 1, "assistant"),
        }
        assert "kayak on the Ä lake" in found[0].excerpt
        assert {each.conversation for each in await talks.search("LAKE")} == {"a", "b/1"}
        assert len(await talks.search("lake", most=1)) == 1
        assert await talks.search('"* AND ( -') == ()
        assert [each.name for each in await talks.list("b/")] == ["b/1"]
        with pytest.raises(NoSuchConversation):
            await talks.search("x", conversation="nobody")


async def test_deletion_reaches_the_file_and_the_index(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with talking(path) as (talks, _, _):
        keep, secret = await talks.open("keep"), await talks.open("secret")
        await keep.say("harmless words")
        for number in range(30):
            await secret.say(f"xylophone{number} qwertzuiop")
        old = await talks.open("secret")
        await talks.delete("secret")
        with pytest.raises(NoSuchConversation, match="was deleted"):
            await old.say("still there?")
        assert await talks.search("qwertzuiop") == ()
        assert (await (await talks.open("secret")).messages()) == ()
        assert len(await talks.search("harmless")) == 2
        with pytest.raises(NoSuchConversation):
            await talks.delete("nobody")
    raw = _bytes(tmp_path)
    assert b"qwertzuiop" not in raw
    assert b"xylophone" not in raw


def _bytes(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.iterdir())


async def test_an_export_is_json_and_comes_back_equal(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db", "anthropic") as (talks, _, server):
        server.next(Turn(thinking=("hm",), text=("yes",)))
        talk = await talks.open("a", system="Be brief.")
        await talk.say(["see", Image(data=b"\x89PNG", mime="image/png")])
        await talk.pin()
        await talk.say("two")
        await talk.undo()
        await talk.say("three")
        exported = json.loads(json.dumps(await talk.export()))
        assert await talks.import_(exported, "copy") == "copy"
        copy = await talks.open("copy")
        assert await copy.messages() == await talk.messages()
        for one, other in zip(await copy.turns(), await talk.turns(), strict=True):
            assert (one.said, one.answered, one.state, one.pinned, one.model) == (
                other.said,
                other.answered,
                other.state,
                other.pinned,
                other.model,
            )
        assert len(await talks.search("three", conversation="copy")) == 2
        with pytest.raises(ConversationError, match="'a' already"):
            await talks.import_(exported)
        for wrong, why in (
            ({}, "not an exported"),
            (exported | {"version": 9}, "version 9"),
            (exported | {"x": 1}, "x"),
        ):
            with pytest.raises(InvalidRequest, match=why):
                await talks.import_(wrong, "other")


async def test_pinned_and_first_turns_stay_in_a_small_window_of_a_long_conversation(tmp_path: Path) -> None:
    path, window = tmp_path / "t.db", Window(tokens=300, keep_first=2)
    async with talking(path) as (talks, _, _):
        talk = await talks.open("a", system="Be brief.", window=window)
        await talk.say("the very first")
        await talk.say("to be pinned")
        await talk.pin()
        for number in range(80):
            await talk.say(f"number {number} of many")
    async with talking(path) as (talks, _, server):
        talk = await talks.open("a", window=window)
        await talk.say("now")
        shown = [str(message["content"]) for message in asked(server.seen[-1])]
        assert shown[0] == "Be brief."
        assert shown[1] == "the very first"
        assert shown[3] == "to be pinned"
        assert shown[-1] == "now"
        assert "number 79 of many" in shown[-3]
        assert len(shown) < 40
        assert len(await talk.turns()) == 83
        await talk.pin(2, on=False)
        await talk.say("again")
        assert "to be pinned" not in str(asked(server.seen[-1]))
        with pytest.raises(ConversationError, match="no turn 500"):
            await talk.pin(500)


class Looking:
    """Tools in one round: the model's call, its result, and the answer."""

    async def run(self, request: LLMRequest) -> Any:
        class Run:
            reply = LLMResponse(parts=(Text("a boat"),), model="m")
            messages = (
                *request.messages,
                Message("assistant", (ToolCall("c", "look"),)),
                Message("tool", (ToolResult("c", "boat"),)),
                Message("assistant", "a boat"),
            )

        return Run()


class Notes:
    """A memory with one note."""

    async def recalled(self, messages: tuple[Message, ...]) -> tuple[Message, ...]:
        return (Message("user", f"<notes>likes kayaks</notes>\n\n{messages[0].text}"),)


class Nova:
    """A persona."""

    def lines(self) -> tuple[str, ...]:
        return ("You are Nova.",)

    def mood_lines(self) -> tuple[str, ...]:
        return ("Your mood now: calm",)


async def test_tools_memory_and_persona_take_part(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, server):
        talk = await talks.open("a", system="Be brief.", tools=Looking(), persona=Nova(), memory=Notes())
        assert (await talk.say("What is it?")).content == "a boat"
        assert [message.role for message in await talk.messages()] == [
            "system",
            "user",
            "assistant",
            "tool",
            "assistant",
        ]
        plain = await talks.open(
            "a", persona=Nova(), memory=Notes(), options=ConversationOptions(use_persona=False, use_memory=False)
        )
        assert (await plain.say("and now?")).content == "6: and now?"
        knowing = await talks.open("a", persona=Nova(), memory=Notes())
        await knowing.say("what do I like?")
        shown = asked(server.seen[-1])
        assert shown[0]["content"] == "Be brief.\n\nYou are Nova.\n\nYour mood now: calm"
        assert shown[-1]["content"] == "<notes>likes kayaks</notes>\n\nwhat do I like?"
        assert said(await knowing.messages())[-2] == ("user", "what do I like?"), "the log keeps what was said"


async def test_conversations_can_be_read_without_a_connection(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, _):
        await (await talks.open("a")).say("one")
    async with Conversations(tmp_path / "t.db") as talks:
        talk: Talk = await talks.open("a")
        assert len(await talk.messages()) == 2
        with pytest.raises(ConversationError.__mro__[1], match="no connection"):
            await talk.say("two")
    async with Conversations(":memory:") as talks:
        assert await talks.list() == ()


async def test_a_full_window_begins_with_the_same_messages_for_several_turns(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, server):
        talk = await talks.open("a", system="Be brief.", window=Window(tokens=600))
        for number in range(60):
            await talk.say(f"number {number} of many")
        firsts = [asked(seen)[1]["content"] for seen in server.seen[20:]]
        assert 1 < len(set(firsts)) < len(firsts) / 3
        assert all(message["role"] == "user" for message in (asked(seen)[1] for seen in server.seen))


async def test_turns_that_were_had_elsewhere_can_be_added(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db") as (talks, _, server):
        talk = await talks.open("a")
        await talk.add("one", "first", model="other")
        await talk.add(["see", Text("this")], [Message("assistant", "a"), Message("assistant", "b")])
        assert not server.seen
        assert (await talk.say("two")).content == "6: two"
        assert (await talk.turns())[0].model == "other"


async def test_words_are_found_at_once_and_after_many_rows(tmp_path: Path) -> None:
    path = tmp_path / "t.db"
    async with talking(path) as (talks, _, _):
        talk = await talks.open("a")
        await talk.add("an early kayak", "yes")
        assert len(await talks.search("kayak")) == 1
        for number in range(300):
            await talk.add(f"number{number}", "yes")
        assert len(await talks.search("number7")) == 1
        await talk.add("a late canoe", "yes")
    async with talking(path) as (talks, _, _):
        assert len(await talks.search("canoe")) == 1
        assert len(await talks.search("yes", most=1000)) == 302


async def test_an_exact_window_asks_the_provider_and_shrinks_by_what_it_says(tmp_path: Path) -> None:
    async with talking(tmp_path / "t.db", "anthropic") as (talks, _, server):

        def counting(seen: Any) -> Turn | Answer:
            if not seen.path.endswith("count_tokens"):
                return echo(seen)
            tokens = 100 * len(asked(seen))  # each message is a hundred tokens, whatever the estimate says
            return Answer(pieces=(json.dumps({"input_tokens": tokens}).encode(),))

        server.always(counting)
        talk = await talks.open("a", window=Window(tokens=1000, exact=True))
        for number in range(30):
            await talk.say(f"number {number}")
        assert max(len(asked(seen)) for seen in server.seen if seen.path == "/v1/messages") <= 10
        server.next(Answer(status=500))
        assert (await talk.say("and when nobody counts?")).content.endswith("counts?")
