"""Conversations for code without an event loop."""

import threading
from pathlib import Path

import pytest

from three_mode.conversations import ConversationOptions, Window
from three_mode.errors import NoSuchConversation
from three_mode.sync import Conversations, LLMConnection


def test_all_of_it_without_await(tmp_path: Path) -> None:
    options = ConversationOptions(max_tokens=4)
    with LLMConnection(model="tiny") as llm, Conversations(tmp_path / "t.db", llm, options=options) as talks:
        talk = talks.open("a", system="Be brief.", window=Window(tokens=400))
        answer = talk.say("one")
        assert answer.content
        with talk.stream("two") as chunks:
            text = "".join(chunk.text for chunk in chunks)
        assert text == chunks.response().content
        assert talk.stream("three").text()
        assert [turn.text for turn in talk.turns()] == ["one", "two", "three"]
        assert talk.undo().number == 3  # type: ignore[union-attr]
        talk.pin()
        talk.set_system("Be long.")
        fork = talk.fork()
        assert fork.messages() == talk.messages()
        assert talks.import_(talk.export(), "copy") == "copy"
        assert {info.name for info in talks.list()} == {"a", "a~2", "copy"}
        assert talks.search("two", conversation="copy")[0].turn == 2
        fork.delete()
        talks.delete("copy")
        assert talk.cut() is None
        assert talk.compaction_failed is None
        with pytest.raises(NoSuchConversation):
            talks.delete("copy")
        with talk.stream("four") as chunks:
            next(chunks)
        assert talk.name == "a"
        assert "'a'" in repr(talk)


def test_threads_share_one_conversation(tmp_path: Path) -> None:
    options = ConversationOptions(max_tokens=2)
    with LLMConnection(model="tiny") as llm, Conversations(tmp_path / "t.db", llm, options=options) as talks:
        threads = [threading.Thread(target=talks.open("a").say, args=(str(number),)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(turn.text for turn in talks.open("a").turns()) == [str(number) for number in range(8)]
