"""Log of one conversation, as its rows say it. Pure: rows go in, turns and the items of a window come out."""

from collections.abc import Container, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from msgspec import Struct

from three_mode.conversations.entries import (
    BODIES,
    Answered,
    Body,
    Cut,
    LogEntry,
    Pin,
    Round,
    Said,
    SpanSummary,
    System,
    Undone,
    decode_body,
)
from three_mode.conversations.rounds import gone_on, whole
from three_mode.conversations.window import WindowItem
from three_mode.messages import Message, Usage
from three_mode.messages.reply import FinishReason


class TalkTurn(Struct, frozen=True, kw_only=True):
    """One turn: what was said, and the answer."""

    number: int  #: number in its conversation, from 1
    #: "open": no answer yet, or a crash cut it; "answered"; "cut": ended without an answer, and part of the
    #: conversation only where tools have run; "undone": taken back
    state: Literal["open", "answered", "cut", "undone"]
    at: datetime  #: when it began, in UTC
    said: tuple[Message, ...]  #: messages of the person or program
    answered: tuple[Message, ...] = ()  #: messages of the model and of its tools
    why: str = ""  #: why it was cut: "crash", "cancelled", or the name of an error
    model: str = ""  #: the model that answered
    provider: str = ""  #: the provider that answered
    finish_reason: FinishReason = "unknown"  #: why the answer ended
    usage: Usage = Usage()  #: tokens and cost of the answer
    pinned: bool = False  #: whether every window shows it
    about: dict[str, Any] = {}  #: what the program keeps with the answer

    @property
    def text(self) -> str:
        """The text of what was said."""
        return "\n\n".join(message.text for message in self.said)

    @property
    def answer(self) -> str:
        """The text of the answer."""
        return "".join(message.text for message in self.answered if message.role == "assistant")


FEW = 64  # turns that may stay in memory beyond those that windows show


class TurnRecord:
    """One turn while its rows come in."""

    __slots__ = (
        "answered",
        "at",
        "counts",
        "cut",
        "end_row",
        "items",
        "number",
        "rounds",
        "rows",
        "said",
        "stays",
        "tokens",
        "undone",
    )

    def __init__(self, entry: LogEntry, said: tuple[Message, ...]) -> None:
        self.number, self.at, self.said = entry.turn, entry.at, said
        self.rows = [entry.number]  # that hold its messages
        self.rounds: tuple[Message, ...] = ()  # of the model and of its tools, before the answer
        self.answered: Answered | None = None
        self.end_row = 0  # the row that ended it; 0: it is not over
        self.cut: str | None = None
        self.stays = False  # whether it is part of the conversation though it was cut
        self.undone = False
        self.counts: list[int] | None = None  # tokens of each message, once they were counted
        self.tokens = 0  # their sum
        self.items: tuple[WindowItem, ...] | None = None  # as a window takes them

    def count(self, counts: list[int] | None) -> None:
        """Set the tokens of its messages; None: they are to be counted again."""
        self.counts, self.tokens, self.items = counts, sum(counts or ()), None

    @property
    def live(self) -> bool:
        """Whether it is part of the conversation."""
        return not self.undone and (self.cut is None or self.stays)

    @property
    def over(self) -> bool:
        """Whether nothing more comes."""
        return self.answered is not None or self.cut is not None

    @property
    def answer(self) -> tuple[Message, ...]:
        """Messages of the model and of its tools; of a turn that is not over, those of whole rounds."""
        if self.answered is None:
            return whole(self.rounds)
        return gone_on(self.rounds, self.answered.messages) if self.rounds else self.answered.messages

    @property
    def messages(self) -> tuple[Message, ...]:
        """What was said, and the answer."""
        return self.said + self.answer


class TalkLog:
    """What the rows say so far. It may lack turns in the middle, where they were not read."""

    def __init__(self) -> None:
        self.last = 0  #: number of the last row
        self.last_turn = 0
        self.system = ""
        self.records: dict[int, TurnRecord] = {}
        self.pins: dict[int, bool] = {}
        self.summaries: list[SpanSummary] = []
        self.summary_tokens = 0  #: of all summaries that were ever written

    def apply(self, entries: Iterable[LogEntry]) -> None:
        """Take in rows, in the order of their numbers."""
        for entry in entries:
            self._apply(entry, decode_body(BODIES[entry.kind], entry.body))

    def apply_written(self, entries: Sequence[LogEntry], bodies: Iterable[Body]) -> None:
        """Take in rows that were just written out of these bodies: texts are not read back, all else is."""
        for entry, body in zip(entries, bodies, strict=True):
            self._apply(entry, body if _is_text(body) else decode_body(BODIES[entry.kind], entry.body))

    def _apply(self, entry: LogEntry, body: Body) -> None:
        self.last = max(self.last, entry.number)
        self.last_turn = max(self.last_turn, entry.turn)
        record = self.records.get(entry.turn)
        match body:
            case Said():
                self.records[entry.turn] = TurnRecord(entry, body.messages)
            case Round() if record is not None:
                record.rounds = gone_on(record.rounds, body.messages)
                record.rows.append(entry.number)
                record.count(None)
            case Answered() if record is not None:
                record.answered, record.end_row = body, entry.number
                record.rows.append(entry.number)
                record.count(None)
            case Cut() if record is not None:
                record.cut, record.stays, record.end_row = body.why, body.stays, entry.number
            case Undone():
                if record is not None:
                    record.undone = True
                self.summaries = [one for one in self.summaries if not one.first <= entry.turn <= one.last]
            case SpanSummary():
                self.summaries.append(body)
                self.summary_tokens += body.usage.total_tokens
            case System():
                self.system = body.text
            case Pin():
                self.pins[entry.turn] = body.on

    @property
    def summary(self) -> SpanSummary | None:
        """The last summary that no turn of was taken back."""
        return self.summaries[-1] if self.summaries else None

    @property
    def open_turn(self) -> TurnRecord | None:
        """The last turn, where nobody answered it and nobody took it back."""
        record = self.records.get(self.last_turn)
        return record if record is not None and record.live and not record.over else None

    def live(self) -> list[TurnRecord]:
        """Turns that are part of the conversation, in order."""
        return [self.records[number] for number in sorted(self.records) if self.records[number].live]

    def pinned(self, record: TurnRecord) -> bool:
        """Whether every window shows a turn."""
        return self.pins.get(record.number, False)

    def forget(self, keep: Container[int]) -> None:
        """Drop turns from memory, but for those to keep and the last one; they stay in the file."""
        if len(self.records) > FEW:
            self.records = {n: one for n, one in self.records.items() if n in keep or n == self.last_turn}

    def turn(self, record: TurnRecord) -> TalkTurn:
        """A turn as a value."""
        answer = record.answered
        state: Literal["open", "answered", "cut", "undone"] = "open" if answer is None else "answered"
        if record.undone:
            state = "undone"
        elif record.cut is not None:
            state = "cut"
        return TalkTurn(
            number=record.number,
            state=state,
            at=datetime.fromtimestamp(record.at, UTC),
            said=record.said,
            answered=record.answer,
            why=record.cut or "",
            model=answer.model if answer is not None else "",
            provider=answer.provider if answer is not None else "",
            finish_reason=answer.finish if answer is not None else "unknown",
            usage=answer.usage if answer is not None else Usage(),
            pinned=self.pinned(record),
            about=answer.about if answer is not None else {},
        )


def _is_text(body: Body) -> bool:
    """Whether nobody can change a body that was given, so that it stays what is in the file: calls of tools have
    arguments, which are dicts of the program's."""
    return isinstance(body, Said | Answered) and all(type(message.content) is str for message in body.messages)
