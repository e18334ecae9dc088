"""Actions: what a node's state asks its surroundings to do."""

from typing import Any, Literal

import msgspec

from three_mode.cluster.core.frames import AskFrame, CastFrame, Packet, SettleFrame, TellFrame

PeerState = Literal["joined", "suspected", "steady", "lost", "back", "left", "forgotten"]


class SendPacket(msgspec.Struct, frozen=True, gc=False):
    """Send a packet to a node, or to all."""

    packet: Packet


class PeerChanged(msgspec.Struct, frozen=True):
    """Another node joined, is suspected or steady again, was lost or is back, left, or is forgotten."""

    node: str
    name: str
    state: PeerState
    after: float = 0.0
    """Seconds since it was last heard."""


class NamesShown(msgspec.Struct, frozen=True):
    """These agents and roles of a node can be called."""

    node: str
    names: tuple[str, ...]


class NamesHidden(msgspec.Struct, frozen=True):
    """These agents and roles of a node can be called no longer."""

    node: str
    names: tuple[str, ...]


class PatternsChanged(msgspec.Struct, frozen=True):
    """Agents of other nodes listen to these patterns, all together."""

    patterns: frozenset[str]


class EndAgents(msgspec.Struct, frozen=True):
    """End these agents here: another node has a later incarnation of each."""

    names: tuple[str, ...]
    winner: str
    """Id of that node."""


class LeadSaid(msgspec.Struct, frozen=True):
    """A node says another part of itself in leading than before, or is known no longer."""

    node: str


class DeliverTell(msgspec.Struct, frozen=True):
    """Give a message to its agent here."""

    node: str
    frame: TellFrame


class BeginCall(msgspec.Struct, frozen=True):
    """Begin with a call of another node."""

    node: str
    frame: AskFrame


class CancelServed(msgspec.Struct, frozen=True):
    """Cancel a call of another node."""

    node: str
    id: int
    why: str


class GrantParts(msgspec.Struct, frozen=True):
    """Let the stream of a call of another node send more parts."""

    node: str
    id: int
    count: int


class CallAnswered(msgspec.Struct, frozen=True):
    """A call of this node has its answer."""

    id: int
    payload: bytes


class CallPart(msgspec.Struct, frozen=True):
    """A part of a stream that this node reads."""

    id: int
    payload: bytes


class CallEnded(msgspec.Struct, frozen=True):
    """A stream that this node reads has ended."""

    id: int


class CallFailed(msgspec.Struct, frozen=True):
    """A call of this node has failed."""

    id: int
    code: str
    text: str
    detail: Any = None


class TellLost(msgspec.Struct, frozen=True):
    """A message without an answer did not arrive, or nobody can know whether it did."""

    to: str
    topic: str
    sender: str
    why: str


class DeliverCast(msgspec.Struct, frozen=True):
    """Publish a broadcast of another node here."""

    node: str
    frame: CastFrame


class FramesMissing(msgspec.Struct, frozen=True):
    """Frames `first` to `last` of a node did not arrive; `casts`: they are broadcasts."""

    node: str
    first: int
    last: int
    casts: bool


class CountCast(msgspec.Struct, frozen=True):
    """Count how far the agents here are with a broadcast of another node."""

    node: str
    frame: SettleFrame


class CastSettled(msgspec.Struct, frozen=True):
    """The counts of all other nodes for a broadcast of this node."""

    ticket: int
    agents: int
    late: int
    lost: int
    dead: int
    failed: int
    unreachable: int
    unreachable_nodes: tuple[str, ...]
    """Names of the nodes that did not answer."""


Action = (
    SendPacket
    | PeerChanged
    | NamesShown
    | NamesHidden
    | PatternsChanged
    | EndAgents
    | LeadSaid
    | DeliverTell
    | BeginCall
    | CancelServed
    | GrantParts
    | CallAnswered
    | CallPart
    | CallEnded
    | CallFailed
    | TellLost
    | DeliverCast
    | FramesMissing
    | CountCast
    | CastSettled
)
