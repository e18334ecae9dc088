"""A chat whose talk is kept: it goes on where it was, forks, and takes turns back."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from three_mode import sync
from three_mode.chat import ChatSession, Conversation, KeptConversation


def no_lines(prompt: str, prefilled: str) -> str:
    raise EOFError


@contextmanager
def chatting(path: Path, name: str, system: str = "") -> Iterator[tuple[ChatSession, KeptConversation, io.StringIO]]:
    shown = io.StringIO()
    console = Console(file=shown, width=200)
    with sync.LLMConnection() as connection, sync.Conversations(path, connection) as talks:
        kept = KeptConversation(talks, name, "tiny", system, None)
        yield ChatSession(kept, kept, console, no_lines), kept, shown


def test_a_talk_goes_on_where_it_was(tmp_path: Path) -> None:
    path = tmp_path / "talks.db"
    with chatting(path, "home", "Be brief.") as (session, kept, _):
        assert session.ask("Repeat: blue kayak")
        assert len(kept) == 1
    with chatting(path, "home") as (session, kept, shown):
        session.take("/history")
        assert "Repeat: blue kayak" in shown.getvalue()
        session.take("/system")
        assert "Be brief." in shown.getvalue()
        session.take("Hello")
        session.take("/undo")
        assert "taken back: Hello" in shown.getvalue()
        assert [said for said, _ in kept.turns] == ["Repeat: blue kayak"]
        session.take("/retry")
        assert [said for said, _ in kept.turns] == ["Repeat: blue kayak"]


def test_forks_and_other_talks(tmp_path: Path) -> None:
    with chatting(tmp_path / "talks.db", "home") as (session, kept, shown):
        session.take("Hello")
        session.take("/fork trip")
        assert kept.name == "trip"
        session.take("Hello again")
        session.take("/talk home")
        session.take("/talks")
        assert kept.names() == [("trip", 2), ("home", 1)] or kept.names() == [("home", 1), ("trip", 2)]
        assert "* home  1 turns" in shown.getvalue()
        session.take("/fork trip")
        assert "there is a conversation 'trip' already" in shown.getvalue()
        session.take("/reset")
        assert kept.turns == ()
        assert kept.undo() is None


def test_a_chat_that_is_not_kept_says_how_to_keep_one() -> None:
    shown = io.StringIO()
    with sync.LLMConnection() as connection:
        session = ChatSession(connection, Conversation("tiny"), Console(file=shown, width=200), no_lines)
        for command in ("/talks", "/talk x", "/fork"):
            session.take(command)
    assert shown.getvalue().count("--talk NAME") == 3


def test_a_call_that_fails_is_no_part_of_the_talk(tmp_path: Path) -> None:
    with chatting(tmp_path / "talks.db", "home") as (session, kept, shown):
        session.take("Hello")
        kept.model = "gguf:/nowhere.gguf"
        assert not session.ask("lost")
        kept.model = "tiny"
        assert [said for said, _ in kept.turns] == ["Hello"]
        assert "NotFound" in shown.getvalue()
