"""Conversations of one file: open, list, search, import, delete."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from msgspec import Struct
from msgspec.structs import replace

from three_mode.connection import LLMConnection
from three_mode.conversations.entries import EntryKind, System, text_of
from three_mode.conversations.hooks import TalkMemory, TalkPersona
from three_mode.conversations.options import ConversationOptions
from three_mode.conversations.rows import messages_of
from three_mode.conversations.shared import Shared, TalkSetup
from three_mode.conversations.store import ConversationStore, Draft
from three_mode.conversations.talk import Talk
from three_mode.conversations.transfer import drafts_of, imported
from three_mode.conversations.turn_locks import TurnLocks
from three_mode.conversations.window import Window
from three_mode.errors import InvalidRequest, NoSuchConversation

_AROUND = 60  # characters of a found message before and behind the first word


class ConversationInfo(Struct, frozen=True, kw_only=True):
    """A conversation in a list."""

    name: str  #: its name
    created: datetime  #: when it was made, in UTC
    changed: datetime  #: when its last turn was, in UTC
    turns: int  #: how many turns it has, without those that were taken back
    fork_of: str | None = None  #: the conversation that it was forked from, while that is there


class FoundMessage(Struct, frozen=True, kw_only=True):
    """A message that a search found."""

    conversation: str  #: name of its conversation
    turn: int  #: number of its turn
    role: str  #: "user" for what was said, "assistant" for the answer
    at: datetime  #: when it was written, in UTC
    excerpt: str  #: the text around the first word that was searched for


class Conversations:
    """Conversations in one file.

        async with Conversations("talk.db", llm) as talks:
            talk = await talks.open("alice/1", system="You are brief.")
            reply = await talk.say("Hello")

    Several processes may share the file. Only its owner may read it. `":memory:"` keeps them in memory. Without `llm`
    they can be read, but nobody answers.
    """

    def __init__(
        self, path: str | Path, llm: LLMConnection | None = None, *, options: ConversationOptions | None = None
    ) -> None:
        self._options = options or ConversationOptions()
        store = ConversationStore(path, self._options.busy, self._options.durable)
        self._shared = Shared(store, TurnLocks(path), llm)

    def __repr__(self) -> str:
        return f"<Conversations in {Path(self._shared.store.path).name}>"

    async def __aenter__(self) -> Self:
        await self._shared.store.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Write what is left to write, and close the file. The connection stays open."""
        await self._shared.store.close()
        self._shared.locks.close()

    async def open(
        self,
        name: str,
        *,
        system: str | None = None,
        model: str | None = None,
        window: Window | None = None,
        tools: object = None,
        persona: TalkPersona | None = None,
        memory: TalkMemory | None = None,
        options: ConversationOptions | None = None,
        create: bool = True,
    ) -> Talk:
        """The conversation of that name; a new one where there is none, unless `create` is False.

        `system` is kept with it: None leaves the one it has. The other arguments hold while it is open: the `model`
        that answers, `tools` (`Tools([...])`, or an object whose `run` takes a request), and what `options` says.
        """
        _check(name)
        chosen = options or self._options
        if window is not None:
            chosen = replace(chosen, window=window)
        store = self._shared.store
        talk = await store.find(name)
        if talk is None:
            if not create:
                raise NoSuchConversation(f"there is no conversation {name!r}", conversation=name)
            talk = await store.create(name, [Draft(0, System(system))] if system else [])
            self._shared.tell_created(name)
        setup = TalkSetup(options=chosen, model=model, tools=tools, persona=persona, memory=memory)
        opened = Talk(self._shared, talk, name, setup)
        await opened._kept.load()
        if system is not None:
            await opened.set_system(system)
        return opened

    async def list(self, prefix: str = "", *, most: int = 100, offset: int = 0) -> tuple[ConversationInfo, ...]:
        """Conversations whose names begin with `prefix`, those with the latest turns first."""
        found = await self._shared.store.listed(prefix, most, offset)
        return tuple(
            ConversationInfo(
                name=each.name,
                created=_time(each.created),
                changed=_time(each.changed),
                turns=each.turns,
                fork_of=each.fork_of,
            )
            for each in found
        )

    async def search(self, words: str, *, conversation: str | None = None, most: int = 20) -> tuple[FoundMessage, ...]:
        """Messages that hold all the words, the latest first; in one conversation, or in all."""
        talk = None
        if conversation is not None:
            talk = await self._find(conversation)
        found = await self._shared.store.search(words, talk, most)
        return tuple(
            FoundMessage(
                conversation=name,
                turn=entry.turn,
                role="user" if entry.kind is EntryKind.SAID else "assistant",
                at=_time(entry.at),
                excerpt=excerpt(text_of(messages_of(entry)), words),
            )
            for name, entry in found
        )

    async def delete(self, name: str) -> None:
        """Delete a conversation, in the index too. Rows that a fork of it shows stay until that is deleted."""
        talk = await self._find(name)
        async with self._shared.locks.hold(talk, name, self._options.wait):
            await self._shared.store.delete(talk)

    async def import_(self, data: Mapping[str, Any], name: str | None = None) -> str:
        """Keep a conversation that `Talk.export` gave, as a new one; its name."""
        whole = imported(data)
        chosen = name or whole.name
        _check(chosen)
        await self._shared.store.create(chosen, drafts_of(whole), fresh=True)
        self._shared.tell_created(chosen)
        return chosen

    async def _find(self, name: str) -> int:
        talk = await self._shared.store.find(name)
        if talk is None:
            raise NoSuchConversation(f"there is no conversation {name!r}", conversation=name)
        return talk


def _check(name: object) -> None:
    if not isinstance(name, str) or not name.strip():
        raise InvalidRequest("a conversation has a name", field="name", hint='for example "alice/1"')


def _time(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def excerpt(text: str, words: str) -> str:
    """The text around the first of the words that it holds, on one line."""
    line = " ".join(text.split())
    places = [at for word in words.split() if (at := line.casefold().find(word.casefold())) >= 0]
    start = max(0, min(places, default=0) - _AROUND)
    end = min(len(line), min(places, default=0) + 2 * _AROUND)
    return ("..." if start else "") + line[start:end] + ("..." if end < len(line) else "")
