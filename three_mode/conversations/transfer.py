"""Export and import of conversations as plain data that JSON can hold. Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from three_mode.conversations.entries import Answered, Cut, Pin, System, Undone
from three_mode.conversations.log import TalkLog, TalkTurn
from three_mode.conversations.store import Draft, answered_draft, said_draft
from three_mode.errors import InvalidRequest
from three_mode.messages.plain import converted

FORMAT = "three-mode conversation"
VERSION = 1


class Exported(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An exported conversation."""

    format: str
    version: int
    name: str
    system: str = ""
    exported_at: datetime | None = None
    turns: tuple[TalkTurn, ...] = ()


def export(name: str, log: TalkLog) -> dict[str, Any]:
    """A conversation as data: its system message and all its turns, those that were taken back included."""
    turns = tuple(log.turn(log.records[number]) for number in sorted(log.records))
    whole = Exported(
        format=FORMAT, version=VERSION, name=name, system=log.system, exported_at=datetime.now(UTC), turns=turns
    )
    exported: dict[str, Any] = msgspec.to_builtins(whole)
    return exported


def imported(data: Mapping[str, Any] | Sequence[Any]) -> Exported:
    """Read what `export` wrote. What does not fit is an InvalidRequest that names the field."""
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        raise InvalidRequest("not an exported conversation", field="format", hint=f"it has format {FORMAT!r}")
    if data.get("version") != VERSION:
        raise InvalidRequest(
            f"the export has version {data.get('version')!r}; this one reads {VERSION}",
            field="version",
            hint="upgrade three-mode",
        )
    found: Exported = converted(dict(data), Exported, "")
    return found


def drafts_of(exported: Exported) -> list[Draft]:
    """The rows of an exported conversation, for one that is empty."""
    drafts = [Draft(0, System(exported.system))] if exported.system else []
    for number, turn in enumerate(exported.turns, 1):
        drafts += _turn(turn, number, len(drafts) + 1)
    return drafts


def _turn(turn: TalkTurn, number: int, row: int) -> list[Draft]:
    """The rows of one turn; `row` is the number that its first one will have."""
    at = int(turn.at.timestamp())
    drafts = [said_draft(number, turn.said, at)]
    if turn.state == "answered" or turn.answered:
        body = Answered(turn.answered, turn.model, turn.provider, turn.finish_reason, turn.usage, about=turn.about)
        drafts.append(answered_draft(number, body, at))
    if turn.state == "undone":
        drafts.append(Draft(number, Undone(), at=at))
    elif turn.state != "answered":  # one that was open is not open here: nobody is about to answer it
        drafts.append(Draft(number, Cut(turn.why or "import", bool(turn.answered)), at=at))
    elif turn.pinned:
        drafts.append(Draft(number, Pin(True, tuple(range(row, row + len(drafts)))), at=at))
    return drafts
