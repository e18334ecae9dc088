"""Errors of the bus, in one tree.

    BusError
    +-- JoinFailed              the bus could not be joined
    |   +-- NoSuchBus           no bus of that name, and `create=False`
    |   +-- VersionMismatch     the bus speaks another version of the protocol or of the memory layout
    +-- Closed                  this member has left
    |   +-- Forked              this process was forked after joining; join again, or use spawn
    +-- NotEncodable            msgpack has no form for the payload
    +-- TooLarge                the payload is above the limit
    +-- BadFrame                received bytes are no valid frame
    +-- BadAddress              a name, topic or pattern is not well formed
    +-- NameTaken               another member registered that name
    +-- NoSuchName              no member registered that name
    +-- PeerLost                the member at the other end died or left
    +-- Overloaded              a bounded queue is full
    +-- DeadlineExceeded        the time allowed has passed
    +-- CallCancelled           the caller went away
    +-- RemoteError             the other end answered with an error

`code` is the stable name of an error on the wire; its text is for people.
"""

from typing import Any, ClassVar


class BusError(Exception):
    """Base of all errors of the bus."""

    code: ClassVar[str] = "bus_error"
    """Stable name on the wire."""


class JoinFailed(BusError):
    """The bus could not be joined."""

    code = "join_failed"


class NoSuchBus(JoinFailed):
    """There is no bus of that name, and `create` is False."""

    code = "no_such_bus"


class VersionMismatch(JoinFailed):
    """The bus speaks another version of the protocol or of the memory layout."""

    code = "version_mismatch"


class Closed(BusError):
    """This member has left the bus."""

    code = "closed"


class Forked(Closed):
    """This process was forked after joining: join again in the child, or start it with spawn."""

    code = "forked"


class NotEncodable(BusError):
    """The payload has no form in msgpack."""

    code = "not_encodable"


class TooLarge(BusError):
    """The payload is above `BusOptions.payload_limit`."""

    code = "too_large"


class BadFrame(BusError):
    """Received bytes are no valid frame."""

    code = "bad_frame"


class BadAddress(BusError):
    """A name, topic or pattern is not well formed."""

    code = "bad_address"


class NameTaken(BusError):
    """Another member registered that name."""

    code = "name_taken"


class NoSuchName(BusError):
    """No member registered that name."""

    code = "no_such_name"


class PeerLost(BusError):
    """The member at the other end died or left; `member` is its id."""

    code = "peer_lost"

    def __init__(self, text: str, member: str = "") -> None:
        super().__init__(text)
        self.member = member


class Overloaded(BusError):
    """A bounded queue is full."""

    code = "overloaded"


class DeadlineExceeded(BusError):
    """The time allowed has passed."""

    code = "deadline_exceeded"


class CallCancelled(BusError):
    """The caller went away, or no longer wants the reply."""

    code = "call_cancelled"


class RemoteError(BusError):
    """The other end answered with an error: its `remote_code`, `text` and `detail`; `by` is the name that answered."""

    code = "remote_error"

    def __init__(self, remote_code: str, text: str, detail: Any = None, by: str = "") -> None:
        super().__init__(f"{by or 'the other end'} answered {remote_code}: {text}")
        self.remote_code = remote_code
        self.text = text
        self.detail = detail
        self.by = by


# Errors that the bus itself answers with: the caller gets the same class that a local error has.
_ANSWERED: dict[str, type[BusError]] = {
    kind.code: kind for kind in (NoSuchName, Overloaded, DeadlineExceeded, CallCancelled, BadFrame, TooLarge, Closed)
}


def error_from_wire(code: str, text: str, detail: Any, by: str) -> BusError:
    """Make the exception for an error frame."""
    kind = _ANSWERED.get(code)
    return kind(text) if kind is not None else RemoteError(code, text, detail, by)
