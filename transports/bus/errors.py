"""Every error of the bus, in one tree.

    BusError
    +-- JoinFailed              the bus could not be joined
    |   +-- NoSuchBus           no bus of that name, and `create=False`
    |   +-- VersionMismatch     the bus speaks another version of the protocol or of the memory layout
    +-- Closed                  this member has left
    |   +-- Forked              this process was forked after joining; join again, or use spawn
    +-- NotEncodable            the payload is nothing that msgpack can say
    +-- TooLarge                the payload is above the limit
    +-- BadFrame                bytes that are no frame of ours
    +-- BadAddress              a name, topic or pattern that is not well formed
    +-- NameTaken               another member registered that name
    +-- NoSuchName              nobody registered that name
    +-- PeerLost                the member at the other end died or left
    +-- Overloaded              a bounded queue is full
    +-- DeadlineExceeded        the time allowed has passed
    +-- CallCancelled           the caller went away
    +-- RemoteError             the other end answered with an error

`code` is the stable name that travels on the wire; the text is for people.
"""

from typing import Any, ClassVar


class BusError(Exception):
    """Base of all errors of the bus."""

    code: ClassVar[str] = "bus_error"


class JoinFailed(BusError):
    code = "join_failed"


class NoSuchBus(JoinFailed):
    code = "no_such_bus"


class VersionMismatch(JoinFailed):
    code = "version_mismatch"


class Closed(BusError):
    code = "closed"


class Forked(Closed):
    code = "forked"


class NotEncodable(BusError):
    code = "not_encodable"


class TooLarge(BusError):
    code = "too_large"


class BadFrame(BusError):
    code = "bad_frame"


class BadAddress(BusError):
    code = "bad_address"


class NameTaken(BusError):
    code = "name_taken"


class NoSuchName(BusError):
    code = "no_such_name"


class PeerLost(BusError):
    """The member at the other end died or left; `member` is its id."""

    code = "peer_lost"

    def __init__(self, text: str, member: str = "") -> None:
        super().__init__(text)
        self.member = member


class Overloaded(BusError):
    code = "overloaded"


class DeadlineExceeded(BusError):
    code = "deadline_exceeded"


class CallCancelled(BusError):
    code = "call_cancelled"


class RemoteError(BusError):
    """The other end answered with an error: `remote_code` and `detail` are what it said, `by` is who said it."""

    code = "remote_error"

    def __init__(self, remote_code: str, text: str, detail: Any = None, by: str = "") -> None:
        super().__init__(f"{by or 'the other end'} answered {remote_code}: {text}")
        self.remote_code = remote_code
        self.text = text
        self.detail = detail
        self.by = by


# Errors that the bus itself answers with; the caller gets the same class that it would have had locally.
_ANSWERED: dict[str, type[BusError]] = {
    kind.code: kind for kind in (NoSuchName, Overloaded, DeadlineExceeded, CallCancelled, BadFrame, TooLarge, Closed)
}


def error_from_wire(code: str, text: str, detail: Any, by: str) -> BusError:
    """The exception for an error frame."""
    kind = _ANSWERED.get(code)
    return kind(text) if kind is not None else RemoteError(code, text, detail, by)
