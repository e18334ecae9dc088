"""A simulated network of nodes in one process: a virtual clock, and packets that are dropped, delayed, reordered and
duplicated; nodes that are parted, die and come back. Everything follows from a seed.

`History(seed).run()` plays one history and raises `Broken` where a promise of the core is broken; in a `LongHistory`,
nodes are also stopped and go on, some after the others have forgotten them. The promises:

- no tell and no call begins twice, and no stream has a part twice, too few, or out of order
- payloads arrive as they went, also those that are cut into pieces; tells of one agent to one other, and broadcasts of
  one sender, come in order
- no silent loss: a tell arrived or is told as lost; a broadcast arrived or is in a gap; never both
- a message is handled by the incarnation that it was sent to, and by no other; no two have one epoch
- each call ends once, at its deadline at the latest; each receipt is settled in its time; or, of a node that is
  stopped, as soon as it goes on
- once the network is whole again, all nodes agree on who has each name, and nothing is left waiting, nor half a payload
"""

import heapq
import random
import zlib
from collections.abc import Callable
from typing import ClassVar

from three_mode.cluster.core import actions as act
from three_mode.cluster.core.frames import CountFrame, LargeCastFrame, Packet, Surroundings, encode, read_packet
from three_mode.cluster.core.node import ClusterNode
from three_mode.cluster.core.timing import NodeTiming

TIMING = NodeTiming(heartbeat=1.0, suspected_after=2.0, lost_after=3.5, remembered=8.0, away=2.5)
TROUBLE = 14.0  # seconds in which things happen
QUIET = 8.0  # seconds after them, in which the network is whole
STEPS = 20_000  # steps of a history at most; most have about 700
NAMES = ("scout/0", "scout/1", "judge/0")
PATTERNS = {"scout": ("news.*",)}
PIECE, WINDOW = 16, 48  # bytes of a piece, and of pieces under way
SIZES = ((4,), (4,), (4, 4, 16, 17, 150))  # bytes of payloads, of one history


class Broken(AssertionError):
    """A promise of the core is broken."""


class SimNode:
    """One start of one node, with its agents. What it promises is checked where it is heard of."""

    def __init__(self, world: "History", name: str, number: int) -> None:
        self.world, self.name, self.id = world, name, f"{name}-{number}"
        self.core = ClusterNode(self.id, name, world.now, TIMING)
        self.core.large.piece, self.core.large.window = PIECE, WINDOW
        self.alive = True
        self.agents: dict[str, str] = {}  # name -> incarnation
        self.calls: dict[int, Call] = {}
        self.served: dict[tuple[str, int], Call] = {}
        self.delivered: dict[str, list[int]] = {}  # node -> broadcasts that came
        self.gaps: dict[str, list[tuple[int, int]]] = {}
        self.settling: dict[int, float] = {}
        self.cuts: set[str] = set()  # nodes that this one lost sight of at some time
        self.tick_at = float("inf")
        self.stopped_until = 0.0

    def at(self, when: float, work: Callable[[], None]) -> None:
        """Do something at a time, or as soon as this node is no longer stopped; nothing if it has died."""

        def work_if_it_runs() -> None:
            if self.world.now < self.stopped_until:
                self.world.at(self.stopped_until, work_if_it_runs)
            elif self.alive:
                work()

        self.world.at(when, work_if_it_runs)

    def done(self) -> None:
        """Carry out the core's actions, and come back at its next tick."""
        for action in self.core.take():
            self.world.ON[type(action)](self.world, self, action)
        for call in self.calls.values():
            if not self.core.peers.reachable(call.node):
                raise Broken(f"{call.text} waits for {call.node}, which {self.id} cannot reach")
        at = self.core.next_tick
        if at < self.tick_at or self.tick_at <= self.world.now:
            self.tick_at = at
            self.at(at, lambda: self.tick(at))

    def tick(self, at: float) -> None:
        if at == self.tick_at:
            self.core.tick(self.world.now)
            self.tick_at = float("inf")
            self.done()

    def begin(self, names: list[str]) -> None:
        """Begin agents that are not here, as a spawn or a host that is back does."""
        self.core.claim(names)
        for name in names:
            self.agents[name] = incarnation = self.world.unique("agent")
            claim = self.core.own.claims[name]
            epoch = (name, claim.number, self.id)
            if self.world.epochs.setdefault(epoch, incarnation) != incarnation:
                raise Broken(f"two incarnations have the epoch {epoch}")


class Call:
    """One call, as the caller and the server of the simulation see it."""

    def __init__(self, text: str, node: str, ends: float, credit: int) -> None:
        self.text, self.node, self.ends, self.credit = text, node, ends, credit
        self.granted = credit
        self.parts: list[int] = []
        self.sent = 0
        self.begun = False


class History:
    """One history of a few nodes, from a seed."""

    trouble, quiet = TROUBLE, QUIET
    happenings = (6, 26)
    """How many things happen, at least and at most."""

    def __init__(self, seed: int) -> None:
        self.chance = chance = random.Random(seed)
        self.now = 0.0
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self.epochs: dict[tuple[str, int, str], str] = {}
        self.tells: dict[str, str] = {}  # text -> what became of it: sent, handled, missing, unknown
        self.tell_from: dict[str, SimNode] = {}
        self.calls: dict[str, Call] = {}
        self.casts: dict[tuple[str, int], str] = {}  # node and number -> sender
        self.cast_to: dict[tuple[str, int], set[str]] = {}  # of those that go in pieces: to whom
        self.whole = 0  # tells and broadcasts that came in pieces
        self.latest: dict[tuple[str, ...], int] = {}
        self.whole = False
        self.parted: set[frozenset[str]] = set()
        self.loss, self.twice = chance.choice((0.0, 0.02, 0.2)), chance.choice((0.0, 0.1))
        self.slowest = chance.choice((0.01, 0.3, 1.5))
        self.in_bytes, self.sizes = chance.random() < 0.1, chance.choice(SIZES)
        # A network that reorders leaves few payloads whole that go in pieces.
        self.in_order = len(self.sizes) > 1 and chance.random() < 0.8
        self._arrived: dict[tuple[str, str], float] = {}
        self.nodes: list[SimNode] = []
        self._starts = 0
        for name in "abc"[: chance.choice((2, 2, 3))]:
            self.at(chance.random(), lambda name=name: self.start(name))

    # the clock --------------------------------------------------------------------------------------------------------
    def at(self, when: float, work: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._events, (max(when, self.now), self._count, work))

    def run(self) -> "History":
        """Play the history; Broken where a promise is broken."""
        chance = self.chance
        for _ in range(chance.randint(*self.happenings)):
            self.at(1.2 + chance.random() * (self.trouble - 1.2), self._something)
        self.at(self.trouble, self._heal)
        steps = 0
        while self._events and self._events[0][0] <= self.trouble + self.quiet:
            self.now, _, work = heapq.heappop(self._events)
            work()
            steps += 1
            if steps > STEPS:
                raise Broken(f"after {STEPS} steps it is {self.now:.3f} s: the nodes never rest")
        self._check_end()
        return self

    def payload(self, text: str) -> bytes:
        """Return the payload of a message: it follows from its text."""
        size = self.sizes[zlib.crc32(text.encode()) % len(self.sizes)]
        return bytes(ord(text[0]) + place % 7 for place in range(size))

    def check_payload(self, text: str, payload: bytes) -> None:
        if payload != self.payload(text):
            raise Broken(f"{text} has another payload than it went with: {len(payload)} bytes")

    def check_order(self, number: int, *flow: str) -> None:
        if number <= self.latest.get(flow, 0):
            raise Broken(f"{number} comes after {self.latest[flow]} out of order, of {flow}")
        self.latest[flow] = number

    def unique(self, what: str) -> str:
        self._count += 1
        return f"{what}-{self._count}"

    # what happens -----------------------------------------------------------------------------------------------------
    def start(self, name: str) -> None:
        self._starts += 1
        node = SimNode(self, name, self._starts)
        self.nodes.append(node)
        node.core.surround(Surroundings(("helper",), PATTERNS))
        node.begin([one for one in NAMES if self.chance.random() < 0.4])
        node.done()

    def _heal(self) -> None:
        self.whole, self.loss, self.twice, self.slowest = True, 0.0, 0.0, 0.05
        self.parted.clear()

    def _something(self) -> None:
        alive = [node for node in self.nodes if node.alive and node.stopped_until <= self.now]
        if not alive:
            return
        node = self.chance.choice(alive)
        self.chance.choice(self.DEEDS)(self, node)
        if node.alive:
            node.done()

    def _ask(self, node: SimNode, credit: int = 0) -> None:
        name = self.chance.choice(NAMES)
        owner = node.core.owner(name) or self.chance.choice([peer.id for peer in node.core.nodes()] or [""])
        within = self.chance.choice((0.05, 0.8, 4.0))
        call = Call(self.unique("call"), owner, self.now + within, credit)
        to = self.chance.choice((name, name, "any:helper"))
        id_ = node.core.ask(self.now, owner, to, call.text, self.payload(call.text), within, credit=credit)
        self.calls[call.text] = node.calls[id_] = call
        if self.chance.random() < 0.15:
            node.at(self.now + self.chance.random(), lambda: self._cancel(node, id_))

    def _stream(self, node: SimNode) -> None:
        self._ask(node, self.chance.choice((1, 3)))

    def _cancel(self, node: SimNode, id_: int) -> None:
        call = node.calls.pop(id_, None)
        if call is not None:
            node.core.cancel(self.now, id_)
            node.done()

    def _tell(self, node: SimNode) -> None:
        name = self.chance.choice(NAMES)
        for _ in range(self.chance.choice((1, 1, 5))):
            owner = node.core.owner(name)
            if owner is not None:
                text = self.unique("tell")
                self.tells[text], self.tell_from[text] = "sent", node
                node.core.tell(self.now, owner, name, text, self.payload(text))

    def _cast(self, node: SimNode) -> None:
        sender = self.chance.choice(("x", "y"))
        for _ in range(self.chance.choice((1, 1, 4))):
            payload = self.payload(f"cast-{node.id}-{node.core.casting.own.last + 1}")
            number = node.core.cast(self.now, "news.eu", payload, sender=sender)
            if number:
                self.casts[node.id, number] = sender
                if self.chance.random() < 0.5:
                    self._settle(node, number)

    def _settle(self, node: SimNode, number: int) -> None:
        self._count += 1
        ticket, within = self._count, self.chance.choice((0.2, 1.0))
        node.settling[ticket] = self.now + within
        node.core.settle(self.now, ticket, number, "news.eu", within)

    def _spawn(self, node: SimNode) -> None:
        node.begin([name for name in NAMES if name not in node.agents and self.chance.random() < 0.5])

    def _stop(self, node: SimNode) -> None:
        name = self.chance.choice(NAMES)
        if node.agents.pop(name, None):
            node.core.release([name])

    def _host_dies(self, node: SimNode) -> None:
        lost = [name for name in node.agents if self.chance.random() < 0.5]
        for name in lost:
            del node.agents[name]
        node.core.lose(self.now, lost)
        if self.chance.random() < 0.7:
            node.at(self.now + 2.0 * self.chance.random(), lambda: self._host_back(node, lost))

    def _host_back(self, node: SimNode, names: list[str]) -> None:
        back = [name for name in names if name not in node.agents and name in node.core.own.claims]
        if back:
            node.begin(back)
            node.done()

    def _part(self, node: SimNode) -> None:
        other = self.chance.choice("abc")
        if other != node.name:
            pair = frozenset((node.name, other))
            self.parted.add(pair)
            self.at(self.now + self.chance.choice((1.0, 5.0)), lambda: self.parted.discard(pair))

    def _die(self, node: SimNode) -> None:
        if self.chance.random() < 0.3:
            node.core.leave(self.now)
            node.done()
        node.alive = False
        self.at(self.now + 0.2 + 4.0 * self.chance.random(), lambda: self.start(node.name))

    DEEDS: tuple[Callable[["History", SimNode], None], ...] = (
        *(_ask,) * 5,
        *(_stream,) * 3,
        *(_tell,) * 5,
        *(_cast,) * 3,
        _spawn,
        _spawn,
        _stop,
        _host_dies,
        _part,
        _part,
        _die,
    )

    # the network ------------------------------------------------------------------------------------------------------
    def _lead_said(self, node: SimNode, action: act.LeadSaid) -> None:
        """Nobody stands by here."""

    def _send(self, sender: SimNode, action: act.SendPacket) -> None:
        packet = action.packet
        if isinstance(packet.frame, LargeCastFrame):
            self.cast_to[sender.id, packet.frame.number] = set(packet.frame.links)
        for node in self.nodes:
            if node is sender or not node.alive or packet.to not in ("", node.id):
                continue
            if frozenset((sender.name, node.name)) in self.parted or self.chance.random() < self.loss:
                continue
            self._carry(node, packet)
            if self.twice and self.chance.random() < self.twice:
                self._carry(node, packet)

    def _carry(self, node: SimNode, packet: Packet) -> None:
        if self.in_bytes:
            packet = read_packet(encode(packet))
        delay = 0.001 + (self.chance.random() * self.slowest if self.chance.random() < 0.5 else 0.0)

        def arrive() -> None:
            node.core.handle(self.now, packet)
            node.done()

        at = self.now + delay
        if self.in_order:
            way = (packet.sender, node.id)
            self._arrived[way] = at = max(at, self._arrived.get(way, 0.0))
        node.at(at, arrive)

    # what the cores ask for -------------------------------------------------------------------------------------------
    def _peer_changed(self, node: SimNode, action: act.PeerChanged) -> None:
        if action.state in ("lost", "left"):
            node.cuts.add(action.node)

    def _check_incarnation(self, node: SimNode, to: str, epoch: int) -> None:
        if to.startswith("any:"):
            return
        meant = self.epochs.get((to, epoch, node.id))
        if meant is None or node.agents.get(to) != meant:
            raise Broken(f"{to} of epoch {epoch} got a message at {node.id}, where {node.agents.get(to)} acts")

    def _deliver_tell(self, node: SimNode, action: act.DeliverTell) -> None:
        self._check_incarnation(node, action.frame.to, action.frame.epoch)
        text = action.frame.topic
        if self.tells[text] in ("handled", "missing"):
            raise Broken(f"{text} is handled after it was {self.tells[text]}")
        self.check_payload(text, action.frame.payload)
        self.whole += len(action.frame.payload) > PIECE
        self.check_order(int(text.partition("-")[2]), self.tell_from[text].id, action.frame.to, node.id)
        self.tells[text] = "handled"

    def _tell_lost(self, node: SimNode, action: act.TellLost) -> None:
        before, text = self.tells[action.topic], action.topic
        unsure = "before it said" in action.why
        if before in ("missing", "unknown") or (before == "handled" and not unsure):
            raise Broken(f"{text} is told as lost after it was {before}: {action.why}")
        self.tells[text] = before if before == "handled" else "unknown" if unsure else "missing"

    def _begin_call(self, node: SimNode, action: act.BeginCall) -> None:
        frame = action.frame
        self._check_incarnation(node, frame.to, frame.epoch)
        call, key = self.calls[frame.topic], (action.node, frame.id)
        if call.begun:
            raise Broken(f"{call.text} begins twice")
        call.begun = True
        self.check_payload(call.text, frame.payload)
        node.served[key] = call
        call.granted = frame.credit
        takes = self.chance.choice((0.0, 0.1, 2.0))
        node.at(self.now + takes, lambda: self._work(node, key, self.chance.choice((0, 2, 6))))

    def _work(self, node: SimNode, key: tuple[str, int], length: int) -> None:
        call = node.served.get(key)
        if call is None:
            return
        if not call.credit:
            del node.served[key]
            if self.chance.random() < 0.2:
                node.core.fail(self.now, *key, "failed", self.payload(f"failure of {call.text}").decode())
            else:
                node.core.answer(self.now, *key, self.payload(f"answer to {call.text}"))
        elif call.sent < length:
            if call.granted > 0:
                call.granted -= 1
                node.core.part(self.now, *key, b"%d " % call.sent + self.payload(f"part {call.sent} of {call.text}"))
                call.sent += 1
            node.at(self.now + 0.05, lambda: self._work(node, key, length))
        else:
            del node.served[key]
            node.core.end(self.now, *key)
        node.done()

    def _cancel_call(self, node: SimNode, action: act.CancelServed) -> None:
        node.served.pop((action.node, action.id), None)

    def _grant(self, node: SimNode, action: act.GrantParts) -> None:
        call = node.served.get((action.node, action.id))
        if call is not None:
            call.granted += action.count

    def _call_ended(self, node: SimNode, action: act.CallAnswered | act.CallEnded | act.CallFailed) -> None:
        call = node.calls.pop(action.id, None)
        if call is None:
            raise Broken(f"call {action.id} of {node.id} ends twice")
        if self.now > max(call.ends, node.stopped_until) + 1e-6:
            raise Broken(f"{call.text} ended {self.now - call.ends:.3f} s after its deadline")
        if isinstance(action, act.CallAnswered):
            self.check_payload(f"answer to {call.text}", action.payload)
        if isinstance(action, act.CallFailed) and action.code == "failed":
            self.check_payload(f"failure of {call.text}", action.text.encode())
        if isinstance(action, act.CallEnded) and call.parts != list(range(call.sent)):
            raise Broken(f"{call.text} ended with the parts {call.parts} of {call.sent}")

    def _call_part(self, node: SimNode, action: act.CallPart) -> None:
        call = node.calls.get(action.id)
        if call is None:
            raise Broken(f"a part for call {action.id} of {node.id}, which has ended")
        place, _, rest = action.payload.partition(b" ")
        call.parts.append(int(place))
        self.check_payload(f"part {call.parts[-1]} of {call.text}", rest)
        if call.parts != list(range(len(call.parts))):
            raise Broken(f"{call.text} has the parts {call.parts}")
        node.core.grant(self.now, action.id, 1)

    def _end_agents(self, node: SimNode, action: act.EndAgents) -> None:
        for name in action.names:
            node.agents.pop(name, None)

    def _deliver_cast(self, node: SimNode, action: act.DeliverCast) -> None:
        numbers = node.delivered.setdefault(action.node, [])
        gaps = node.gaps.get(action.node, ())
        number = action.frame.number
        if number in numbers or any(first <= number <= last for first, last in gaps):
            raise Broken(f"broadcast {number} of {action.node} comes again, or after it was told as lost")
        numbers.append(number)
        self.check_payload(f"cast-{action.node}-{number}", action.frame.payload)
        self.whole += len(action.frame.payload) > PIECE
        self.check_order(number, action.node, "casts of", action.frame.sender, node.id)

    def _missing(self, node: SimNode, action: act.FramesMissing) -> None:
        if action.casts:
            node.gaps.setdefault(action.node, []).append((action.first, action.last))

    def _count_cast(self, node: SimNode, action: act.CountCast) -> None:
        frame = action.frame
        if frame.number not in node.delivered.get(action.node, ()):
            raise Broken(f"broadcast {frame.number} of {action.node} counts as seen at {node.id}, and did not come")
        agents = sum(name.startswith("scout/") for name in node.agents)
        node.core.counted(self.now, action.node, CountFrame(frame.id, agents, 0, 0, 0, 0))

    def _cast_settled(self, node: SimNode, action: act.CastSettled) -> None:
        ends = node.settling.pop(action.ticket, None)
        if ends is None:
            raise Broken(f"receipt {action.ticket} of {node.id} is settled twice")
        if self.now > max(ends, node.stopped_until) + 1e-6:
            raise Broken(f"receipt {action.ticket} of {node.id} is settled {self.now - ends:.3f} s late")

    def _nothing(self, node: SimNode, action: act.Action) -> None:
        pass

    ON: ClassVar[dict[type, Callable[..., None]]] = {
        act.SendPacket: _send,
        act.PeerChanged: _peer_changed,
        act.LeadSaid: _lead_said,
        act.NamesShown: _nothing,
        act.NamesHidden: _nothing,
        act.PatternsChanged: _nothing,
        act.EndAgents: _end_agents,
        act.DeliverTell: _deliver_tell,
        act.BeginCall: _begin_call,
        act.CancelServed: _cancel_call,
        act.GrantParts: _grant,
        act.CallAnswered: _call_ended,
        act.CallPart: _call_part,
        act.CallEnded: _call_ended,
        act.CallFailed: _call_ended,
        act.TellLost: _tell_lost,
        act.DeliverCast: _deliver_cast,
        act.FramesMissing: _missing,
        act.CountCast: _count_cast,
        act.CastSettled: _cast_settled,
    }

    # the end ----------------------------------------------------------------------------------------------------------
    def _check_end(self) -> None:
        alive = [node for node in self.nodes if node.alive]
        for text, became in self.tells.items():
            if became == "sent" and self.tell_from[text].alive:
                raise Broken(f"{text} was lost in silence")
        for node in alive:
            if node.calls or node.settling:
                raise Broken(f"{node.id} still waits: {list(node.calls)}, {list(node.settling)}")
            if node.core.waiting:
                raise Broken(f"the core of {node.id} still waits for {node.core.waiting} calls")
            left = (node.core.large.waiting, node.core.large.under_way, node.core.large.incomplete)
            if any(left):
                raise Broken(f"{node.id} has large payloads left: {left}")
        self._check_names(alive)
        self._check_casts(alive)

    def _check_names(self, alive: list[SimNode]) -> None:
        for name in NAMES:
            owners = [node for node in alive if name in node.core.own.claims and name in node.agents]
            if len(owners) > 1:
                raise Broken(f"{name} acts at {[node.id for node in owners]}")
            for node in alive:
                if owners and node is not owners[0] and node.core.owner(name) != owners[0].id:
                    raise Broken(f"{node.id} has {name} at {node.core.owner(name)}, and it acts at {owners[0].id}")
                if not owners and node.core.owner(name) is not None:
                    raise Broken(f"{node.id} has {name} at {node.core.owner(name)}, and it acts nowhere")

    def _check_casts(self, alive: list[SimNode]) -> None:
        for sender in alive:
            sent = [number for node, number in self.casts if node == sender.id]
            for node in alive:
                view = node.core.casting.of.get(sender.id)
                if node is sender or view is None:
                    continue
                told = node.delivered.get(sender.id, ())
                gaps = node.gaps.get(sender.id, ())
                for number in sent:
                    if node.id not in self.cast_to.get((sender.id, number), {node.id}):
                        continue  # it had no listeners there
                    known = number <= view.before or number in told
                    if not known and not any(first <= number <= last for first, last in gaps):
                        raise Broken(f"broadcast {number} of {sender.id} did not come to {node.id}, in silence")


class LongHistory(History):
    """One history in which nodes are also stopped and go on, some after the others have forgotten them."""

    trouble = 40.0
    happenings = (30, 50)

    def _stop_for_a_while(self, node: SimNode) -> None:
        node.stopped_until = min(self.now + self.chance.choice((2.0, 6.0, 14.0, 20.0)), self.trouble)

    DEEDS = (*(deed for deed in History.DEEDS if deed is not History._die), *(_stop_for_a_while,) * 2)
