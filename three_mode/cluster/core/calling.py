"""Calls of one node to agents of others, and those of others that are served here: each begins at most once, and ends
once."""

from typing import Protocol

from three_mode.cluster.core.actions import (
    Action,
    BeginCall,
    CallAnswered,
    CallEnded,
    CallFailed,
    CallPart,
    CancelServed,
    TellLost,
)
from three_mode.cluster.core.calls import OutCall, OutCalls, ServedCalls
from three_mode.cluster.core.frames import (
    AnswerFrame,
    AnyFrame,
    AskFrame,
    CancelFrame,
    CreditFrame,
    EndFrame,
    FailFrame,
    PartFrame,
    TellFrame,
)
from three_mode.cluster.core.large import LargeFrames
from three_mode.cluster.core.links import FrameNote, LinkOut, Note
from three_mode.cluster.core.names import NamesOf, OwnNames
from three_mode.cluster.core.peers import Peers
from three_mode.cluster.core.shown import ROLE

NO_SUCH_NAME, PEER_LOST, OVERLOADED, DEADLINE = "no_such_name", "peer_lost", "overloaded", "deadline_exceeded"
_CALLS = 65536  # calls of this node that may wait at once


class CallingNode(Protocol):
    """Interface of the node."""

    name: str
    peers: Peers
    own: OwnNames
    large: LargeFrames

    def act(self, action: Action) -> None: ...
    def view(self, node: str) -> NamesOf: ...
    def out_link(self, node: str) -> LinkOut: ...
    def send_counted(self, now: float, node: str, frame: AnyFrame, note: Note | None = None) -> None: ...


class Calling:
    """The calls of a node, and those of others that come to it."""

    def __init__(self, node: CallingNode) -> None:
        self._node = node
        self.out, self.served = OutCalls(), ServedCalls()

    # time, and the end of other nodes ---------------------------------------------------------------------------------
    def tick(self, now: float) -> None:
        """End the calls whose time has run out."""
        node = self._node
        for id_ in self.out.expired(now):
            call = self.out.waiting.pop(id_)
            node.large.drop_call(now, call.node, id_)
            node.act(CallFailed(id_, DEADLINE, f"{call.to} did not answer in time"))
        for other, id_ in self.served.expired(now):
            node.large.drop_answer(now, other, id_)
            node.act(CancelServed(other, id_, "its deadline passed"))

    def fail_all(self, node: str, why: str) -> list[int]:
        """End the calls that wait for a node; return them."""
        ids = self.out.at(node)
        for id_ in ids:
            call = self.out.waiting.pop(id_)
            self._node.act(CallFailed(id_, PEER_LOST, f"{call.to}: {why}"))
        return ids

    def cancel_all_served(self, now: float, node: str, why: str) -> None:
        """Cancel the calls of a node."""
        for key in self.served.of(node):
            self._node.large.drop_answer(now, *key)
            del self.served.open[key]
            self._node.act(CancelServed(*key, why))

    def call_lost(self, id: int, why: str) -> None:  # noqa: A002
        """End a call that did not reach its node."""
        call = self.out.waiting.pop(id, None)
        if call is not None:
            self._node.act(CallFailed(id, PEER_LOST, f"{call.to}: the call: {why}"))

    def answer_lost(self, now: float, node: str, id: int) -> None:  # noqa: A002
        """End a call of a node of which an answer, or a part of its stream, did not arrive there."""
        if self.served.open.pop((node, id), None) is not None:
            self._node.large.drop_answer(now, node, id)
            self._node.act(CancelServed(node, id, "a part of its stream was lost on the way"))
        text = f"the answer was lost on its way from node {self._node.name}"
        self._node.send_counted(now, node, FailFrame(id, PEER_LOST, text))

    def cancelled(self, now: float, node: str, id: int) -> None:  # noqa: A002
        """Note that a node waits for a call no longer."""
        if self.served.open.pop((node, id), None) is not None:
            self._node.large.drop_answer(now, node, id)
            self._node.act(CancelServed(node, id, "the caller cancelled"))

    def is_open(self, node: str, id: int) -> bool:  # noqa: A002
        """Return whether a call of a node is being served."""
        return (node, id) in self.served.open

    # calls of this node -----------------------------------------------------------------------------------------------
    def ask(
        self,
        now: float,
        node: str,
        to: str,
        topic: str,
        payload: bytes,
        within: float,
        *,
        sender: str = "",
        trace: str = "",
        credit: int = 0,
    ) -> int:
        """Ask an agent or a role of a node, or the node itself (`to` is empty); return the id of the call.

        With `credit`, for a stream of that many parts ahead of its reader. Each call ends once: CallAnswered,
        CallEnded, or CallFailed.
        """
        id_ = self.out.next_id()
        epoch, refusal = self._epoch(node, to, len(payload))
        if len(self.out.waiting) >= _CALLS:
            refusal = (OVERLOADED, f"{_CALLS} calls to other nodes wait already")
        if within <= 0.0:
            refusal = (DEADLINE, f"no time is left to ask {to}")
        if refusal is not None:
            self._node.act(CallFailed(id_, *refusal))
            return id_
        self.out.add(id_, OutCall(node, to, now + within, credit > 0))
        frame = AskFrame(id_, to, epoch, topic, sender, trace, within, credit, payload)
        self._node.send_counted(now, node, frame, FrameNote("ask", id_))
        return id_

    def tell(
        self, now: float, node: str, to: str, topic: str, payload: bytes, *, sender: str = "", trace: str = ""
    ) -> None:
        """Send a message to an agent or a role of a node. One that will not arrive is a TellLost."""
        epoch, refusal = self._epoch(node, to, len(payload))
        if refusal is not None:
            self._node.act(TellLost(to, topic, sender, refusal[1]))
            return
        frame = TellFrame(to, epoch, topic, sender, trace, payload)
        self._node.send_counted(now, node, frame, FrameNote("tell", 0, to, topic, sender))

    def cancel(self, now: float, id: int) -> None:  # noqa: A002
        """Wait for a call no longer, and have it cancelled."""
        call = self.out.waiting.pop(id, None)
        if call is not None and not self._node.large.drop_call(now, call.node, id):
            self._node.send_counted(now, call.node, CancelFrame(id))

    def grant(self, now: float, id: int, count: int) -> None:  # noqa: A002
        """Let a stream send more parts."""
        call = self.out.waiting.get(id)
        if call is not None and call.streams and count > 0:
            self._node.send_counted(now, call.node, CreditFrame(id, count))

    def _epoch(self, node: str, to: str, size: int) -> tuple[int, tuple[str, str] | None]:
        """Return the epoch to address, or why that cannot be."""
        name = self._node.peers.name(node)
        if not self._node.peers.reachable(node):
            return 0, (PEER_LOST, f"{to}: node {name} cannot be reached")
        if self._node.out_link(node).full or self._node.large.crowded(node, size):
            return 0, (OVERLOADED, f"{to}: node {name} has not acknowledged what was sent to it before")
        if not to or to.startswith(ROLE):
            return 0, None
        claim = self._node.view(node).claims.epoch(to)
        if claim is None:
            return 0, (NO_SUCH_NAME, f"no agent {to!r} is at node {name} any more")
        number, away, _ = claim
        if away:
            return 0, (PEER_LOST, f"{to} is not there just now: its process at node {name} ended")
        return number, None

    def answered(self, now: float, node: str, frame: AnswerFrame | PartFrame | EndFrame | FailFrame) -> None:
        call = self.out.answered_by(node, frame.id)
        if call is None:
            return
        if isinstance(frame, PartFrame | EndFrame):
            place = frame.place if isinstance(frame, PartFrame) else frame.parts
            if not call.streams or place != call.parts:
                del self.out.waiting[frame.id]
                self._node.act(CallFailed(frame.id, PEER_LOST, f"{call.to}: a part of its stream was lost"))
                self._node.send_counted(now, node, CancelFrame(frame.id))
                return
        if isinstance(frame, PartFrame):
            call.parts += 1
            self._node.act(CallPart(frame.id, frame.payload))
            return
        del self.out.waiting[frame.id]
        if type(frame) is AnswerFrame:
            self._node.act(CallAnswered(frame.id, frame.payload))
        elif type(frame) is EndFrame:
            self._node.act(CallEnded(frame.id))
        elif type(frame) is FailFrame:
            self._node.act(CallFailed(frame.id, frame.code, frame.text, frame.detail))

    # calls of other nodes ---------------------------------------------------------------------------------------------
    def acts(self, to: str, epoch: int) -> bool:
        return to.startswith(ROLE) or self._node.own.acts(to, epoch)

    def asked(self, now: float, node: str, frame: AskFrame) -> None:
        if frame.to and not self.acts(frame.to, frame.epoch):
            known = frame.to in self._node.own.claims
            text = f"{frame.to} at node {self._node.name} has ended" + (", and another has begun" if known else "")
            self._node.send_counted(now, node, FailFrame(frame.id, PEER_LOST if known else NO_SUCH_NAME, text))
            return
        self.served.add((node, frame.id), now + frame.within)
        self._node.act(BeginCall(node, frame))

    def answer(self, now: float, node: str, id: int, payload: bytes) -> None:  # noqa: A002
        """Answer a call of another node."""
        if (node, id) not in self.served.open:
            return
        if self._node.large.crowded(node, len(payload)):
            node_name = self._node.peers.name(node)
            text = f"an answer of {len(payload)} bytes: node {node_name} has not taken others before it"
            self.fail(now, node, id, OVERLOADED, text)
            return
        del self.served.open[node, id]
        self._node.send_counted(now, node, AnswerFrame(id, payload), FrameNote("answer", id))

    def part(self, now: float, node: str, id: int, payload: bytes) -> None:  # noqa: A002
        """Send a part of a stream to another node."""
        place = self.served.open.get((node, id))
        if place is not None:
            self.served.open[node, id] = place + 1
            self._node.send_counted(now, node, PartFrame(id, place, payload), FrameNote("part", id))

    def end(self, now: float, node: str, id: int) -> None:  # noqa: A002
        """End a stream to another node."""
        parts = self.served.open.pop((node, id), None)
        if parts is not None:
            self._node.send_counted(now, node, EndFrame(id, parts))

    def fail(self, now: float, node: str, id: int, code: str, text: str, detail: object = None) -> None:  # noqa: A002
        """Answer a call of another node with an error."""
        if self.served.open.pop((node, id), None) is not None:
            self._node.send_counted(now, node, FailFrame(id, code, text, detail))
