"""Frames between nodes: values in msgpack, checked when they are read.

    packet   [version, sender, to, link, number, frame]        frame   [kind, field, field...]

`sender` and `to` are ids of nodes; `to` is empty for all. `link` and `number` place a frame among those from one node
to another; number 0 is a frame that is not counted. The first two fields of a packet stay as they are in all versions,
so that a node of another version can be named.
"""

from typing import Annotated, Any

import msgspec

from three_mode.errors import ThreeModeError

VERSION = 2

Text = Annotated[str, msgspec.Meta(max_length=1024)]
NodeId = Annotated[str, msgspec.Meta(max_length=64)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Seconds = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]


class BadPacket(ThreeModeError):
    """Bytes from another node are no packet of this version."""


class OtherVersion(BadPacket):
    """A packet of another version of the protocol."""

    node: str = ""
    version: int = 0


class Frame(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Base of all frames."""


# of nodes -------------------------------------------------------------------------------------------------------------
class HeartbeatFrame(Frame, frozen=True, tag=1):
    """The node lives."""

    name: Text
    names: Count
    """Version of its names."""
    casts: Count
    """Number of its last broadcast."""
    kind: Text = "node"
    """What it is: a node, or a program that joined and has no agents."""


class LeaveFrame(Frame, frozen=True, tag=2):
    """The node leaves in order."""


# of names -------------------------------------------------------------------------------------------------------------
class Claim(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An agent runs at the node: one incarnation, known by its epoch, which is (`number`, the node's id)."""

    name: Text
    number: Count
    away: bool = False
    """Its process ended, and it may come back."""
    placed: Count = 0
    """Number under which the agent was placed there, which stays when it is restarted; 0: it is `number`."""

    @property
    def rank(self) -> int:
        """Number that decides between the incarnations of two nodes."""
        return self.placed or self.number


class Offer(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What a node offers to those that place agents: where it is one of, how much it has, what it may start."""

    labels: tuple[Text, ...] = ()
    hosts: Count = 0
    allow: tuple[Text, ...] = ()
    """Import paths below which it starts classes by order; none: it takes no orders."""


class Lead(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A node's part in leading: whether it stands by, and whose agents it leads, in which term."""

    stands_by: bool = False
    term: Count = 0
    """Number of its lead, above those of all leads that it knew; 0: it leads nobody."""
    took: tuple[NodeId, ...] = ()
    """Nodes that led before, which it has taken over from."""
    follows: tuple[tuple[NodeId, Count], ...] = ()
    """Nodes that lead, of whose plans it has a copy; with the version of that, once the node is lost, else 0."""


class Surroundings(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What else is at a node: roles, the patterns that each group of agents listens to, what the node offers, and its
    part in leading."""

    roles: tuple[Text, ...] = ()
    groups: dict[Text, tuple[Text, ...]] = {}
    offer: Offer = Offer()
    lead: Lead = Lead()


class NamesFrame(Frame, frozen=True, tag=3):
    """The node's names have changed from version `base` to `version`."""

    base: Count
    version: Count
    claims: tuple[Claim, ...]
    removed: tuple[Text, ...]
    around: Surroundings | None = None


class NamesWantedFrame(Frame, frozen=True, tag=4):
    """Send all your names."""


class NamesPartFrame(Frame, frozen=True, tag=5):
    """Part of all names of a version."""

    version: Count
    part: Count
    parts: Count
    claims: tuple[Claim, ...]
    around: Surroundings | None = None


# of links -------------------------------------------------------------------------------------------------------------
class TipFrame(Frame, frozen=True, tag=6):
    """The last frame on this link was `last`; reports of frames up to `floor` have arrived."""

    last: Count
    floor: Count


class AckFrame(Frame, frozen=True, tag=7):
    """Of the frames up to `last` on the link `link`, all but `missing` (first, last) have arrived."""

    link: Count
    last: Count
    missing: tuple[tuple[Count, Count], ...] = ()


# of broadcasts --------------------------------------------------------------------------------------------------------
class CastFrame(Frame, frozen=True, tag=8):
    """A broadcast, to all nodes at once; `number` counts those of its node."""

    number: Count
    topic: Text
    sender: Text
    trace: Text
    payload: bytes


class SettleFrame(Frame, frozen=True, tag=17):
    """How far are your agents with broadcast `number`?"""

    id: Count
    number: Count
    topic: Text
    within: Seconds


class CountFrame(Frame, frozen=True, tag=18):
    """Answer to a SettleFrame."""

    id: Count
    agents: Count
    late: Count
    lost: Count
    dead: Count
    failed: Count


# of calls -------------------------------------------------------------------------------------------------------------
class TellFrame(Frame, frozen=True, tag=9):
    """A message without an answer."""

    to: Text
    epoch: Count
    topic: Text
    sender: Text
    trace: Text
    payload: bytes


class AskFrame(Frame, frozen=True, tag=10):
    """A question; with `credit`, for a stream of that many parts ahead of its reader. `within`: what remains."""

    id: Count
    to: Text
    epoch: Count
    topic: Text
    sender: Text
    trace: Text
    within: Seconds
    credit: Count
    payload: bytes


class AnswerFrame(Frame, frozen=True, tag=11):
    """The answer to a question."""

    id: Count
    payload: bytes


class PartFrame(Frame, frozen=True, tag=12):
    """A part of a stream; `place` is its number among them, from 0."""

    id: Count
    place: Count
    payload: bytes


class EndFrame(Frame, frozen=True, tag=13):
    """The end of a stream of so many parts."""

    id: Count
    parts: Count


class FailFrame(Frame, frozen=True, tag=14):
    """An error in place of an answer, or of the rest of a stream."""

    id: Count
    code: Text
    text: str
    detail: Any = None


class CancelFrame(Frame, frozen=True, tag=15):
    """The caller waits no longer."""

    id: Count


class CreditFrame(Frame, frozen=True, tag=16):
    """So many more parts may be sent."""

    id: Count
    count: Count


# of large payloads ----------------------------------------------------------------------------------------------------
class PieceFrame(Frame, frozen=True, tag=40):
    """Piece number `place` of a payload of `size` bytes, which is too large for one message."""

    id: Count
    size: Count
    place: Count
    piece: bytes


class SealFrame(Frame, frozen=True, tag=41):
    """All pieces were sent: they are the payload of this frame."""

    id: Count
    frame: TellFrame | AskFrame | AnswerFrame | PartFrame | FailFrame | CastFrame


class DropFrame(Frame, frozen=True, tag=42):
    """No more pieces come: one is missing, or nobody waits for them."""

    id: Count


class LargeCastFrame(Frame, frozen=True, tag=43):
    """Broadcast `number` comes in pieces, to the nodes of `links`: node -> its link on which they come."""

    number: Count
    topic: Text
    sender: Text
    links: dict[NodeId, Count]


class LostCastFrame(Frame, frozen=True, tag=44):
    """Broadcast `number`, which was to come in pieces, does not come."""

    number: Count


AnyFrame = (
    HeartbeatFrame
    | LeaveFrame
    | NamesFrame
    | NamesWantedFrame
    | NamesPartFrame
    | TipFrame
    | AckFrame
    | CastFrame
    | TellFrame
    | AskFrame
    | AnswerFrame
    | PartFrame
    | EndFrame
    | FailFrame
    | CancelFrame
    | CreditFrame
    | SettleFrame
    | CountFrame
    | PieceFrame
    | SealFrame
    | DropFrame
    | LargeCastFrame
    | LostCastFrame
)


class Packet(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A frame on its way from one node to another, or to all."""

    version: Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)]
    sender: NodeId
    to: NodeId
    link: Count
    number: Count
    frame: AnyFrame


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Packet).decode
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


def read_packet(raw: bytes) -> Packet:
    """Read a packet; BadPacket says what is wrong with it, OtherVersion that it is of another version."""
    try:
        return _decode(raw)
    except _UNREADABLE as error:
        raise _refused(raw, error) from None


def _refused(raw: bytes, error: Exception) -> BadPacket:
    try:
        version, sender = msgspec.msgpack.decode(raw)[:2]
    except (*_UNREADABLE, TypeError, ValueError):
        return BadPacket(f"no packet of a cluster: {error}")
    if type(version) is int and version != VERSION and isinstance(sender, str):
        return OtherVersion(
            f"node {sender[:64]} speaks version {version} between nodes; this build speaks version {VERSION}",
            hint="run one version of three-mode on all nodes of a cluster",
            node=sender[:64],
            version=version,
        )
    return BadPacket(f"no packet of a cluster: {error}")
