"""One conversation: say, stream, fork, undo.

A turn is two rows: what was said is written before the model is asked, the answer when it is whole. With tools each
round is a row or two in between. Until the answer the turn is open, and this process holds the conversation's lock; an
open turn that nobody holds was cut by a crash.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

from msgspec.structs import replace

from three_mode.conversations.asking import Asking, TurnAnswer, answer_of
from three_mode.conversations.entries import Answered, Pin, System, Undone
from three_mode.conversations.kept_log import KeptLog
from three_mode.conversations.log import TalkTurn, TurnRecord
from three_mode.conversations.rounds import unknown_results
from three_mode.conversations.said import Sayable, messages_said
from three_mode.conversations.shared import Shared, TalkSetup
from three_mode.conversations.store import Draft, answered_draft, round_draft, said_draft
from three_mode.conversations.talk_stream import TalkStream
from three_mode.conversations.transfer import export
from three_mode.conversations.turn_model import TurnModel, TurnStream
from three_mode.conversations.turn_rounds import cut_drafts
from three_mode.errors import (
    ConfigurationError,
    ConversationError,
    ConversationFileError,
    ThreeModeError,
    TurnCutShort,
)
from three_mode.messages import Finish, LLMResponse, Message
from three_mode.tools import RunFinished

CRASH, CANCELLED = "crash", "cancelled"


class Talk:
    """One conversation that is kept. `Conversations.open` gives it."""

    def __init__(self, shared: Shared, talk: int, name: str, setup: TalkSetup) -> None:
        window = setup.options.window
        self.name = name  #: its name in the file
        self._shared, self._setup = shared, setup
        self._kept = KeptLog(shared.store, talk, name, window.tokens, window.keep_first)
        self._asking = Asking(shared, setup, self._kept)

    def __repr__(self) -> str:
        return f"<Talk {self.name!r}>"

    # Turns

    async def say(self, what: Sayable, *, within: float | None = None, **request: Any) -> LLMResponse:
        """Say something; the answer. Both are kept, whole or not at all.

        `what` is a text, a message, parts of one, or results of tools. `within` is the deadline of all of it in
        seconds, waiting for another turn and a summary included. More keywords are fields of the request, such as
        `temperature=0`. A call that fails is raised, and the turn is no part of the conversation then.
        """
        said, until = messages_said(what), self._until(within)
        async with self._held(until):
            await self._settle(until)
            return await self._turn(await self._begin(said), request, until)

    def stream(self, what: Sayable, *, within: float | None = None, **request: Any) -> TalkStream:
        """`say`, with the answer in chunks as they come."""
        said = messages_said(what)

        async def chunks(stream: TalkStream) -> AsyncGenerator[Any, None]:
            until = self._until(within)
            async with self._held(until):
                await self._settle(until)
                record = await self._begin(said)
                async with aclosing(self._streamed(record, request, until, stream)) as source:
                    async for chunk in source:
                        yield chunk

        return TalkStream(chunks)

    async def resume(self, *, within: float | None = None, **request: Any) -> LLMResponse:
        """The answer to the last turn, which a crash cut. Raises ConversationError where there is none."""
        until = self._until(within)
        async with self._held(until):
            await self._kept.refresh()
            record = self._kept.log.open_turn
            if record is None:
                raise ConversationError("no turn was cut", conversation=self.name, hint="say something")
            return await self._resumed(record, request, until)

    async def add(
        self,
        said: Sayable,
        answer: str | Message | Sequence[Message],
        *,
        model: str = "",
        reply: LLMResponse | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        """Append a turn that was had elsewhere, in one write: nobody is asked. `model` is who answered.

        `reply`: who answered and what it used are that reply's. `about` is what the program keeps with the answer:
        plain data, which `turns()` gives back.
        """
        messages = (Message("assistant", answer),) if isinstance(answer, str) else answer
        whole = (messages,) if isinstance(messages, Message) else tuple(messages)
        answered = Answered(whole, model) if reply is None else _body(whole, reply)
        answered = replace(answered, about=about or {})
        what = messages_said(said)
        async with self._held(self._until(None)):
            await self._settle(None)
            while True:
                number = self._kept.log.last_turn + 1
                if await self._kept.try_write([said_draft(number, what), answered_draft(number, answered)]):
                    return
                await self._settle(None)

    async def undo(self) -> TalkTurn | None:
        """Take the last turn back, or one that a crash cut; None where there is none. The log keeps it, marked."""
        async with self._held(self._until(None)):
            await self._kept.refresh()
            live = self._kept.log.live()
            if not live:
                return None
            record = live[-1]
            await self._kept.write([Draft(record.number, Undone())])
            taken = self._kept.log.turn(record)
            await self._kept.load()
            self._asking.begin_anew()
            return taken

    async def cut(self) -> TalkTurn | None:
        """The last turn, where nobody answered it and nobody is about to; None where it has its answer."""
        async with self._held(self._until(None)):
            await self._kept.refresh()
            record = self._kept.log.open_turn
            return self._kept.log.turn(record) if record is not None else None

    # What is kept

    async def turns(self) -> tuple[TalkTurn, ...]:
        """All turns, the oldest first. Those that were taken back or cut say so."""
        log = await self._kept.load_all()
        return tuple(log.turn(log.records[number]) for number in sorted(log.records))

    async def messages(self) -> tuple[Message, ...]:
        """The whole conversation as messages: the system message, and the turns that were not taken back."""
        log = await self._kept.load_all()
        system = (Message("system", log.system),) if log.system else ()
        return system + tuple(message for record in log.live() for message in record.messages)

    async def export(self) -> dict[str, Any]:
        """All of it as plain data that JSON can hold; `Conversations.import_` reads it."""
        return export(self.name, await self._kept.load_all())

    async def set_system(self, system: str) -> None:
        """Change the system message, from the next turn on."""
        if system != self._kept.log.system:
            await self._kept.write([Draft(0, System(system))])

    async def pin(self, turn: int | None = None, on: bool = True) -> None:
        """Keep a turn in every window; None: the last one. `on=False` lets it go again."""
        await self._kept.refresh()
        log = self._kept.log
        number = log.live()[-1].number if turn is None and log.live() else turn
        if number not in log.records:
            log = await self._kept.load_all()
        record = log.records.get(number) if number is not None else None
        if record is None or not record.live:
            raise ConversationError(f"there is no turn {turn}", conversation=self.name)
        await self._kept.write([Draft(record.number, Pin(on, tuple(record.rows)))])
        if log is not self._kept.log:
            await self._kept.load()

    async def compact(self) -> str | None:
        """Summarise all turns but the last ones now; the summary, or None where there is nothing to summarise."""
        options = self._setup.options.compaction
        if options is None:
            raise ConfigurationError(
                "no model is named for summaries", hint="ConversationOptions(compaction=Compaction(model=...))"
            )
        async with self._held(self._until(None)):
            await self._kept.refresh()
            limit = await self._asking.count()
            summary = await self._asking.summaries.compact(options, limit, True)
            return summary.text if summary is not None else None

    @property
    def compaction_failed(self) -> ThreeModeError | None:
        """Why the last summary was not written; None: it was, or none was due."""
        return self._asking.summaries.failed

    async def fork(self, name: str | None = None, *, after: int | None = None) -> "Talk":
        """A new conversation that goes on from here, or as it was right after the turn `after`. None: a new name.

        It shares the rows so far: they are not copied, and outlive this conversation.
        """
        async with self._held(self._until(None)):
            await self._kept.refresh()
            upto = await self._fork_point(after)
            free = name or await self._free_name()
            talk = await self._shared.store.create(free, parent=self._kept.talk, upto=upto, fresh=True)
            self._shared.tell_created(free, fork_of=self.name)
        forked = Talk(self._shared, talk, free, self._setup)
        await forked._kept.load()
        return forked

    async def delete(self) -> None:
        """Delete it, in the index too. Rows that a fork of it shows stay until that is deleted."""
        async with self._held(self._until(None)):
            await self._shared.store.delete(self._kept.talk)

    # Inside

    def _until(self, within: float | None) -> float | None:
        within = self._setup.options.within if within is None else within
        return None if within is None else asyncio.get_running_loop().time() + within

    def _held(self, until: float | None) -> AbstractAsyncContextManager[None]:
        options = self._setup.options
        wait = options.wait if options.at_once == "wait" else 0.0
        if until is not None:
            wait = min(wait, max(0.0, until - asyncio.get_running_loop().time()))
        return self._shared.locks.hold(self._kept.talk, self.name, wait)

    async def _settle(self, until: float | None) -> None:
        """Take in what others wrote, and see to a turn that a crash cut: nobody else holds the lock."""
        if self._kept.log.open_turn is not None:
            await self._kept.refresh()
        record = self._kept.log.open_turn
        if record is None:
            return
        match self._setup.options.on_cut:
            case "undo":
                await self._kept.write(cut_drafts(record.number, record.rounds, CRASH))
            case "resume":
                await self._resumed(record, {}, until)
            case "refuse":
                raise TurnCutShort(
                    "a crash cut the last turn of this conversation",
                    conversation=self.name,
                    hint="await talk.resume(), or talk.undo()",
                )

    async def _begin(self, said: tuple[Message, ...]) -> TurnRecord:
        """Write what is said."""
        while True:
            number = self._kept.log.last_turn + 1
            if await self._kept.try_write([said_draft(number, said)]):
                return self._kept.log.records[number]
            await self._settle(None)

    async def _resumed(self, record: TurnRecord, fields: dict[str, Any], until: float | None) -> LLMResponse:
        """Answer a turn that a crash cut, from its last round on: what ran does not run again."""
        results = unknown_results(record.rounds)
        if results:
            await self._kept.write([round_draft(record.number, results)])
        return await self._turn(record, fields, until)

    async def _turn(self, record: TurnRecord, fields: dict[str, Any], until: float | None) -> LLMResponse:
        """Answer a turn that was begun."""
        turn: TurnModel | None = None
        try:
            turn = await self._asking.turn(record, fields, until)
            answer = await self._asking.answer(turn)
        except BaseException as error:
            self._cut(record, turn, error)
            raise
        await self._end(record, answer)
        return answer.reply

    async def _streamed(
        self, record: TurnRecord, fields: dict[str, Any], until: float | None, stream: TalkStream
    ) -> AsyncGenerator[Any, None]:
        turn: TurnModel | None = None
        ended = False
        try:
            turn = await self._asking.turn(record, fields, until)
            stream.source = source = self._asking.stream(turn)
            last = Finish if isinstance(source, TurnStream) else RunFinished
            async with source:
                async for chunk in source:
                    # The turn is kept before its reader knows that it is whole, and may leave.
                    if not ended and isinstance(chunk, last):
                        reply = source.response()
                        await self._end(record, answer_of(turn, reply))
                        ended = True
                        if isinstance(chunk, Finish):
                            chunk = replace(chunk, steps=reply.steps)
                    yield chunk
        except BaseException as error:
            partial = turn.partial if turn is not None else None
            if ended:
                pass
            elif partial is not None and partial.content:
                self._keep_partial(record, partial)
            else:
                self._cut(record, turn, error)
            raise
        if not ended:
            await self._end(record, answer_of(turn, source.response()))

    async def _end(self, record: TurnRecord, answer: TurnAnswer) -> None:
        """Write the answer."""
        try:
            await asyncio.shield(asyncio.ensure_future(self._kept.write([_answered(record, answer)])))
        except ConversationFileError as error:
            error.partial = answer.reply
            raise

    def _keep_partial(self, record: TurnRecord, reply: LLMResponse) -> None:
        """Keep the text of an answer that broke off: calls of tools have no results, and thinking no signature."""
        answer = TurnAnswer(reply, (Message("assistant", reply.content),))
        self._kept.write_later([_answered(record, answer)])
        record.answered = Answered(answer.messages, reply.model, reply.provider, "cancelled", reply.usage)

    def _cut(self, record: TurnRecord, turn: TurnModel | None, error: BaseException) -> None:
        """Mark a turn that ended without an answer. It waits for nothing: this task may be cancelled."""
        record.cut = type(error).__name__ if isinstance(error, Exception) else CANCELLED
        kept = turn.rounds.messages if turn is not None and turn.rounds is not None else record.rounds
        self._kept.write_later(cut_drafts(record.number, kept, record.cut))

    async def _fork_point(self, after: int | None) -> int:
        """The number of the last row that a fork shows."""
        log = self._kept.log
        if after is None:
            return log.open_turn.rows[0] - 1 if log.open_turn is not None else log.last
        record = log.records.get(after) or (await self._kept.load_all()).records.get(after)
        if record is None or (record.answered is None and not record.stays):
            raise ConversationError(f"there is no turn {after} with an answer", conversation=self.name)
        return record.end_row

    async def _free_name(self) -> str:
        number = 2
        while await self._shared.store.find(f"{self.name}~{number}") is not None:
            number += 1
        return f"{self.name}~{number}"


def _answered(record: TurnRecord, answer: TurnAnswer) -> Draft:
    reply, messages = answer
    return answered_draft(record.number, _body(messages, reply))


def _body(messages: tuple[Message, ...], reply: LLMResponse) -> Answered:
    return Answered(messages, reply.model, reply.provider, reply.finish_reason, reply.usage, reply.request_id)
