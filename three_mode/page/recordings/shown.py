"""Records of a recording as the page shows them. Pure."""

from typing import Any

import msgspec

from three_mode.agents.recording.events import Did, Ended, Event, Got, Made
from three_mode.page.recordings.content import brief, plain

_CALLS = frozenset({"ask", "tell", "stream", "gather", "broadcast"})  # their `what` is an address and arguments
_TEXTS = frozenset({"group", "settled"})
_address = msgspec.msgpack.Decoder(tuple[str, str, bytes]).decode


class ShownRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """A record in a list: one line."""

    place: int
    what: str
    """made, got, did, part, ended, unreadable."""
    agent: str = ""
    when: float = 0.0
    turn: int = 0
    kind: str = ""
    """Handler, effect or outcome."""
    peer: str = ""
    """Who sent it, or who it went to."""
    text: str = ""
    good: bool = True


class ShownStep(ShownRecord, frozen=True, omit_defaults=True):
    """A record with its content."""

    content: Any = None
    result: Any = None


def line_of(place: int, event: Event | str) -> ShownRecord:
    """Show a record in one line. A text says why it cannot be read."""
    match event:
        case str():
            return ShownRecord(place, "unreadable", text=event, good=False)
        case Made():
            return ShownRecord(place, "made", event.agent, event.when, kind=str(event.target), text=_line(event.init))
        case Got():
            call = _line(event.call)
            return ShownRecord(place, "got", event.agent, event.when, event.turn, event.handler, event.sender, call)
        case Did():
            peer, kind, content = _effect(event)
            text = brief(content) if event.kind != "part" else _line(event.result)
            return ShownRecord(place, "did", event.agent, event.when, event.turn, kind, peer, text, event.good)
        case Ended():
            part = event.outcome in ("part", "cancel")
            return ShownRecord(
                place,
                "part" if part else "ended",
                event.agent,
                event.when,
                event.turn,
                event.outcome,
                text=brief(_ended(event)),
                good=event.outcome in ("result", "part"),
            )


def step_of(place: int, event: Event | str) -> ShownStep:
    """Show a record with its content."""
    line = line_of(place, event)
    content = result = None
    match event:
        case Made():
            content = plain(event.init)
        case Got():
            content = plain(event.call)
        case Did():
            content = _effect(event)[2]
            result = plain(event.result) if event.result else None
        case Ended():
            content = _ended(event)
    return ShownStep(**msgspec.structs.asdict(line), content=content, result=result)


def effect_address(event: Did) -> tuple[str, str, bytes] | None:
    """Return whom an effect went to, which handler, and the encoded arguments; None where it is no call."""
    if event.kind not in _CALLS and event.kind not in ("part", "end"):
        return None
    try:
        return _address(event.what)
    except msgspec.MsgspecError:
        return None


def _effect(event: Did) -> tuple[str, str, Any]:
    """Say an effect: whom it went to, what it was, with what."""
    address = effect_address(event)
    if address is not None:
        to, handler, arguments = address
        return to, f"{event.kind} {handler}".rstrip(), plain(arguments)
    if event.kind in _TEXTS:
        return event.what.decode(errors="replace"), event.kind, None
    return "", event.kind, plain(event.what) if event.what else None


def _ended(event: Ended) -> Any:
    if event.outcome == "cancel":  # a reason, as it is
        return event.content.decode(errors="replace")
    return plain(event.content) if event.content else None


def _line(data: bytes) -> str:
    return brief(plain(data)) if data else ""
