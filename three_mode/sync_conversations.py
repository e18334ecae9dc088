"""Conversations for code without an event loop; `three_mode.sync` has these names.

from three_mode.sync import Conversations, LLMConnection
with LLMConnection(model="tiny") as llm, Conversations("talk.db", llm) as talks:
    print(talks.open("alice/1").say("Hello").content)
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, ParamSpec, Protocol, Self, TypeVar

from three_mode import connection, conversations
from three_mode.background_loop import LOOP, takes_arguments_of
from three_mode.conversations import ConversationInfo, ConversationOptions, FoundMessage, Sayable, TalkTurn
from three_mode.errors import ThreeModeError
from three_mode.messages import LLMResponse, Message

T = TypeVar("T")
P = ParamSpec("P")


class BlockingConnection(Protocol):
    """A connection of `three_mode.sync`."""

    _async: connection.LLMConnection


class TalkStream:
    """`three_mode.conversations.TalkStream` as an iterator. Leaving the `with` block ends the call."""

    def __init__(self, stream: conversations.TalkStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        chunk = LOOP.run(self._next())
        if chunk is None:
            raise StopIteration
        return chunk

    async def _next(self) -> Any:
        return await anext(self._stream, None)

    def __enter__(self) -> Self:
        LOOP.run(self._stream.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends the call, at the model too; the text that came is kept."""
        LOOP.run(self._stream.aclose())

    def response(self) -> LLMResponse:
        """The answer as far as it has come."""
        return self._stream.response()

    def text(self) -> str:
        """Reads the rest, and returns the whole text of the answer."""
        return LOOP.run(self._stream.text())


class Talk:
    """`three_mode.conversations.Talk` without await. `Conversations.open` gives it."""

    def __init__(self, talk: conversations.Talk) -> None:
        self._async = talk

    def __repr__(self) -> str:
        return f"<sync {self._async!r}>"

    @property
    def name(self) -> str:
        """Its name in the file."""
        return self._async.name

    def say(self, what: Sayable, *, within: float | None = None, **request: Any) -> LLMResponse:
        """Says something; the answer. Both are kept, whole or not at all. `within` is in seconds."""
        return LOOP.run(self._async.say(what, within=within, **request))

    def stream(self, what: Sayable, *, within: float | None = None, **request: Any) -> TalkStream:
        """`say`, with the answer in chunks as they come."""
        return TalkStream(self._async.stream(what, within=within, **request))

    def resume(self, *, within: float | None = None, **request: Any) -> LLMResponse:
        """The answer to the last turn, which a crash cut."""
        return LOOP.run(self._async.resume(within=within, **request))

    def add(
        self,
        said: Sayable,
        answer: str | Message | Sequence[Message],
        *,
        model: str = "",
        reply: LLMResponse | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        """Appends a turn that was had elsewhere, in one write: nobody is asked. `model` is who answered.

        `reply`: who answered and what it used are that reply's. `about` is what the program keeps with the answer.
        """
        LOOP.run(self._async.add(said, answer, model=model, reply=reply, about=about))

    def undo(self) -> TalkTurn | None:
        """Takes the last turn back; None where there is none. The log keeps it, marked."""
        return LOOP.run(self._async.undo())

    def cut(self) -> TalkTurn | None:
        """The last turn, where nobody answered it and nobody is about to; None where it has its answer."""
        return LOOP.run(self._async.cut())

    def turns(self) -> tuple[TalkTurn, ...]:
        """All turns, the oldest first."""
        return LOOP.run(self._async.turns())

    def messages(self) -> tuple[Message, ...]:
        """The whole conversation as messages."""
        return LOOP.run(self._async.messages())

    def export(self) -> dict[str, Any]:
        """All of it as plain data that JSON can hold."""
        return LOOP.run(self._async.export())

    def set_system(self, system: str) -> None:
        """Changes the system message, from the next turn on."""
        LOOP.run(self._async.set_system(system))

    def pin(self, turn: int | None = None, on: bool = True) -> None:
        """Keeps a turn in every window; None: the last one. `on=False` lets it go again."""
        LOOP.run(self._async.pin(turn, on))

    def compact(self) -> str | None:
        """Summarises all turns but the last ones now; the summary, or None where there is nothing to summarise."""
        return LOOP.run(self._async.compact())

    @property
    def compaction_failed(self) -> ThreeModeError | None:
        """Why the last summary was not written; None: it was, or none was due."""
        return self._async.compaction_failed

    def fork(self, name: str | None = None, *, after: int | None = None) -> "Talk":
        """A new conversation that goes on from here, or as it was right after the turn `after`."""
        return Talk(LOOP.run(self._async.fork(name, after=after)))

    def delete(self) -> None:
        """Deletes it, in the index too."""
        LOOP.run(self._async.delete())


class Conversations:
    """`three_mode.conversations.Conversations` without await, on a connection of this module."""

    def __init__(
        self, path: str | Path, llm: BlockingConnection | None = None, *, options: ConversationOptions | None = None
    ) -> None:
        self._async = conversations.Conversations(path, llm._async if llm is not None else None, options=options)

    def __repr__(self) -> str:
        return f"<sync {self._async!r}>"

    @takes_arguments_of(conversations.Conversations.open)
    def open(self, *args: Any, **options: Any) -> Talk:
        """The conversation of that name; a new one where there is none, unless `create` is False."""
        return Talk(LOOP.run(self._async.open(*args, **options)))

    @takes_arguments_of(conversations.Conversations.list)
    def list(self, *args: Any, **options: Any) -> tuple[ConversationInfo, ...]:
        """Conversations, those with the latest turns first."""
        return LOOP.run(self._async.list(*args, **options))

    @takes_arguments_of(conversations.Conversations.search)
    def search(self, *args: Any, **options: Any) -> tuple[FoundMessage, ...]:
        """Messages that hold all the words, the latest first."""
        return LOOP.run(self._async.search(*args, **options))

    def delete(self, name: str) -> None:
        """Deletes a conversation, in the index too."""
        LOOP.run(self._async.delete(name))

    def import_(self, data: Mapping[str, Any], name: str | None = None) -> str:
        """Keeps a conversation that `Talk.export` gave, as a new one; its name."""
        return LOOP.run(self._async.import_(data, name))

    def __enter__(self) -> Self:
        LOOP.run(self._async.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Writes what is left to write, and closes the file. The connection stays open."""
        LOOP.run(self._async.close())
