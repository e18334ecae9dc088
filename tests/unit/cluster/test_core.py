"""The core of a cluster, step by step: what a node does with packets that are hostile, late or too many."""

from three_mode.cluster.core import actions as act
from three_mode.cluster.core.frames import (
    VERSION,
    AckFrame,
    AnswerFrame,
    AnyFrame,
    CreditFrame,
    HeartbeatFrame,
    Packet,
    PartFrame,
    Surroundings,
    TellFrame,
    TipFrame,
)
from three_mode.cluster.core.links import UNACKED
from three_mode.cluster.core.node import ClusterNode
from three_mode.cluster.core.timing import NodeTiming

TIMING = NodeTiming()


def two() -> tuple[ClusterNode, ClusterNode]:
    """Two nodes that know each other; b has scout/0, whose group listens to news.*"""
    one, other = ClusterNode("a-1", "a", 0.0, TIMING), ClusterNode("b-1", "b", 0.0, TIMING)
    other.claim(["scout/0"])
    for _ in range(3):
        one.tick(0.0)
        other.tick(0.0)
        pass_on(0.0, one, other)
    return one, other


def pass_on(now: float, *nodes: ClusterNode) -> list[act.Action]:
    """Carry packets until none is left; return all other actions."""
    rest: list[act.Action] = []
    moved = True
    while moved:
        moved = False
        for node in nodes:
            for action in node.take():
                if isinstance(action, act.SendPacket):
                    moved = True
                    for other in nodes:
                        if other is not node:
                            other.handle(now, action.packet)
                else:
                    rest.append(action)
    return rest


def packet(frame: AnyFrame, number: int = 0, link: int = 1, sender: str = "b-1", to: str = "a-1") -> Packet:
    return Packet(VERSION, sender, to, link, number, frame)


def packets(node: ClusterNode) -> list[AnyFrame]:
    return [one.packet.frame for one in node.take() if isinstance(one, act.SendPacket)]


def test_names_are_found_and_an_ask_goes_there_and_back() -> None:
    one, other = two()
    assert one.owner("scout/0") == "b-1"
    id_ = one.ask(1.0, "b-1", "scout/0", "think", b"?", 2.0)
    (begun,) = pass_on(1.0, one, other)
    assert isinstance(begun, act.BeginCall)
    assert begun.frame.within == 2.0
    other.answer(1.5, "a-1", begun.frame.id, b"!")
    assert pass_on(1.5, one, other) == [act.CallAnswered(id_, b"!")]


def test_an_answer_of_a_node_that_was_not_asked_is_ignored() -> None:
    one, _ = two()
    one.ask(1.0, "b-1", "scout/0", "think", b"?", 2.0)
    one.take()
    one.handle(1.0, packet(HeartbeatFrame("c", 0, 0), sender="c-1", to=""))
    one.handle(1.0, packet(AnswerFrame(1, b"false"), 1, sender="c-1"))
    assert not [action for action in one.take() if isinstance(action, act.CallAnswered)]
    assert one.waiting == 1


def test_an_answer_that_comes_after_the_deadline_is_ignored() -> None:
    one, _ = two()
    id_ = one.ask(1.0, "b-1", "scout/0", "think", b"?", 0.5)
    one.take()
    assert one.next_tick <= 1.5
    one.tick(1.5)
    (failed,) = [action for action in one.take() if isinstance(action, act.CallFailed)]
    assert (failed.id, failed.code) == (id_, "deadline_exceeded")
    one.handle(1.6, packet(AnswerFrame(id_, b"!"), 1))
    assert not [action for action in one.take() if isinstance(action, act.CallAnswered)]


def test_a_part_for_a_plain_call_ends_it() -> None:
    one, _ = two()
    id_ = one.ask(1.0, "b-1", "scout/0", "think", b"?", 2.0)
    one.take()
    one.handle(1.1, packet(PartFrame(id_, 0, b"?"), 1))
    (failed,) = [action for action in one.take() if isinstance(action, act.CallFailed)]
    assert failed.code == "peer_lost"


def test_an_acknowledgement_of_what_was_never_sent_changes_nothing() -> None:
    one, _ = two()
    one.tell(1.0, "b-1", "scout/0", "read", b"")
    one.take()
    one.handle(1.1, packet(AckFrame(1, 2**61, ((0, 2**61),))))
    assert one.take() == []
    one.handle(1.1, packet(AckFrame(1, 1, ((0, 2**61),))))
    assert [action for action in one.take() if isinstance(action, act.TellLost)]


def test_ranges_of_missing_frames_are_bounded() -> None:
    one, _ = two()
    for number in range(2, 4000, 2):
        one.handle(1.0, packet(CreditFrame(1, 1), number))
    asked = [frame for frame in packets(one) if isinstance(frame, AckFrame)]
    assert max(len(frame.missing) for frame in asked) <= 256
    one.handle(1.1, packet(TipFrame(4000, 4000)))
    one.handle(1.1, packet(CreditFrame(1, 1), 4001))
    one.handle(1.1, packet(TipFrame(4001, 4000)))
    last = [frame for frame in packets(one) if isinstance(frame, AckFrame)][-1]
    assert last.last == 4001


def test_a_node_that_acknowledges_nothing_gets_no_more_than_a_bounded_number_of_frames() -> None:
    one, _ = two()
    for _ in range(UNACKED):
        one.tell(1.0, "b-1", "scout/0", "read", b"")
    assert not [action for action in one.take() if isinstance(action, act.TellLost)]
    one.tell(1.0, "b-1", "scout/0", "read", b"")
    (lost,) = one.take()
    assert isinstance(lost, act.TellLost)
    id_ = one.ask(1.0, "b-1", "scout/0", "think", b"", 1.0)
    (failed,) = one.take()
    assert isinstance(failed, act.CallFailed)
    assert (failed.id, failed.code) == (id_, "overloaded")


def test_a_silent_node_is_suspected_then_lost_and_its_calls_end_with_its_name() -> None:
    one, _ = two()
    id_ = one.ask(0.1, "b-1", "scout/0", "think", b"?", 60.0)
    one.take()
    for tenth in range(2, 11):
        one.tick(tenth / 10)
    changes = [action for action in one.take() if isinstance(action, act.PeerChanged)]
    assert [change.state for change in changes] == ["suspected"]
    assert one.owner("scout/0") == "b-1"
    for tenth in range(11, 31):
        one.tick(tenth / 10)
    actions = one.take()
    assert [action.state for action in actions if isinstance(action, act.PeerChanged)] == ["lost"]
    (failed,) = [action for action in actions if isinstance(action, act.CallFailed)]
    assert (failed.id, failed.code, failed.text) == (id_, "peer_lost", "scout/0: node b is lost")
    assert act.NamesHidden("b-1", ("scout/0",)) in actions
    assert one.owner("scout/0") is None


def test_a_silent_node_is_lost_at_its_time_and_not_a_heartbeat_later() -> None:
    one, _ = two()
    one.tick(0.2)
    now, lost = 0.2, []
    while not lost:
        now = one.next_tick
        one.tick(now)
        lost = [change for change in one.take() if isinstance(change, act.PeerChanged) and change.state == "lost"]
    assert now == TIMING.lost_after
    assert lost[0].after == TIMING.lost_after


def test_a_node_that_slept_itself_does_not_take_the_others_for_lost() -> None:
    one, other = two()
    one.tick(60.0)
    assert not [action for action in one.take() if isinstance(action, act.PeerChanged)]
    other.tick(60.0)
    pass_on(60.0, one, other)
    assert one.owner("scout/0") == "b-1"
    for tenth in range(601, 632):  # but silence while it is awake counts
        one.tick(tenth / 10)
    states = [action.state for action in one.take() if isinstance(action, act.PeerChanged)]
    assert states == ["suspected", "lost"]


def test_a_node_that_left_is_not_believed_again() -> None:
    one, other = two()
    other.leave(1.0)
    pass_on(1.0, one, other)
    assert one.nodes() == []
    one.handle(1.1, packet(HeartbeatFrame("b", 1, 0), to=""))
    assert one.take() == []
    assert one.nodes() == []


def test_a_node_that_was_forgotten_and_remembers_this_one_gets_all_messages() -> None:
    """One that was stopped for minutes took the first frames of the new link for duplicates of the one before."""
    one, other = two()
    for _ in range(3):
        one.tell(0.1, "b-1", "scout/0", "read", b"")
    pass_on(0.1, one, other)
    now, states = 0.1, list[str]()
    while now < 70.0:
        now += TIMING.heartbeat
        one.tick(now)
        states += [action.state for action in one.take() if isinstance(action, act.PeerChanged)]
    assert states == ["suspected", "lost", "forgotten"]
    other.tick(now)
    pass_on(now, one, other)
    assert one.owner("scout/0") == "b-1"
    one.tell(now, "b-1", "scout/0", "read", b"")
    id_ = one.ask(now, "b-1", "scout/0", "think", b"?", 2.0)
    told, begun = pass_on(now, one, other)
    assert isinstance(told, act.DeliverTell)
    assert isinstance(begun, act.BeginCall)
    other.answer(now, "a-1", begun.frame.id, b"!")
    assert pass_on(now, one, other) == [act.CallAnswered(id_, b"!")]


def test_a_message_for_an_earlier_incarnation_is_told_as_lost() -> None:
    one, other = two()
    one.tell(1.0, "b-1", "scout/0", "read", b"")
    other.release(["scout/0"])
    other.claim(["scout/0"])
    other.own.changes()  # the news of it is slow
    rest = pass_on(1.0, one, other)
    assert not [action for action in rest if isinstance(action, act.DeliverTell)]
    assert [action.to for action in rest if isinstance(action, act.TellLost)] == ["scout/0"]


def test_a_tell_for_a_name_that_is_no_agent_of_the_node_does_not_arrive() -> None:
    _, other = two()
    for name in ("orchestrator", "host:host-1", "@1f2e3d4c", "scout/9"):
        other.handle(1.0, packet(TellFrame(name, 0, "kill", "", "", b""), 1, sender="a-1", to="b-1"))
        assert not [action for action in other.take() if isinstance(action, act.DeliverTell)]


def test_a_receipt_counts_a_node_that_does_not_answer_as_unreachable() -> None:
    one, other = two()
    other.surround(Surroundings((), {"scout": ("news.*",)}))
    pass_on(0.5, one, other)
    number = one.cast(0.5, "news.eu", b"")
    one.settle(0.5, 1, number, "news.eu", 1.0)
    one.take()
    one.tick(1.5)
    (settled,) = [action for action in one.take() if isinstance(action, act.CastSettled)]
    assert (settled.unreachable, settled.unreachable_nodes, settled.agents) == (1, ("b",), 0)


def test_broadcasts_to_what_only_a_lost_node_listens_to_count_it_as_unreachable_until_it_is_forgotten() -> None:
    one, other = two()
    other.surround(Surroundings((), {"scout": ("news.*",)}))
    assert act.PatternsChanged(frozenset({"news.*"})) in pass_on(0.1, one, other)
    now, changes = 0.1, []
    while "lost" not in [change.state for change in changes if isinstance(change, act.PeerChanged)]:
        now += TIMING.heartbeat
        one.tick(now)
        changes += one.take()
    assert not any(isinstance(change, act.PatternsChanged) for change in changes)
    one.settle(now, 7, one.cast(now, "news.eu", b"news"), "news.eu", 1.0)
    assert act.CastSettled(7, 0, 0, 0, 0, 0, 1, ("b",)) in one.take()
    while now < 2 * TIMING.remembered and act.PatternsChanged(frozenset()) not in changes:
        now += TIMING.heartbeat
        one.tick(now)
        changes += one.take()
    assert act.PatternsChanged(frozenset()) in changes
    assert one.cast(now, "news.eu", b"news") == 0


def test_thousands_of_names_travel_in_parts() -> None:
    one, other = two()
    other.claim(f"many/{number}" for number in range(4500))
    pass_on(1.0, one, other)
    assert one.owner("many/4499") == "b-1"
    late = ClusterNode("c-1", "c", 1.0, TIMING)
    for now in (1.0, 1.3, 1.6):
        late.tick(now)
        other.tick(now)
        pass_on(now, late, other)
    assert late.owner("many/0") == late.owner("many/4499") == late.owner("scout/0") == "b-1"
