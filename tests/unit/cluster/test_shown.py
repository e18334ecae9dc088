"""What of other nodes is shown: the latest claim of each name, looked for where something changed."""

import random

from three_mode.cluster.core.actions import NamesHidden, NamesShown, PatternsChanged
from three_mode.cluster.core.claims import Claims
from three_mode.cluster.core.frames import Claim, Surroundings
from three_mode.cluster.core.names import NamesOf, OwnNames
from three_mode.cluster.core.peers import Peers
from three_mode.cluster.core.shown import ShownNames
from three_mode.cluster.core.timing import NodeTiming

NAMES = [f"scout/{number}" for number in range(12)]


class Looked(Claims):
    """Claims that count how often a name is looked for."""

    times = 0

    def rank(self, name: str) -> int:
        Looked.times += 1
        return super().rank(name)


def nodes(count: int) -> tuple[ShownNames, dict[str, NamesOf], Peers, OwnNames]:
    peers, own = Peers(NodeTiming()), OwnNames()
    views = {f"node-{number}": NamesOf() for number in range(count)}
    for node in views:
        peers.hear(0.0, node, node)
    return ShownNames(own, views, peers), views, peers, own


def latest(views: dict[str, NamesOf], peers: Peers, own: OwnNames) -> dict[str, str]:
    """Return the node of each name, worked out from all that is known."""
    claims = [(claim.name, claim.number, node) for node, view in views.items() for claim in view.claims.values()]
    found: dict[str, tuple[int, str]] = {}
    for name, number, node in claims:
        if peers.shown(node) and name not in own.claims:
            found[name] = max(found.get(name, (-1, "")), (number, node))
    return {name: node for name, (_, node) in found.items()}


def test_each_name_is_shown_at_its_latest_incarnation_whatever_changes_in_which_order() -> None:
    for seed in range(300):
        chance = random.Random(seed)
        shown, views, peers, own = nodes(5)
        seen: dict[str, str] = {}
        clock = 0
        for _ in range(60):
            node = chance.choice(list(views))
            some = chance.sample(NAMES, chance.randint(1, 4))
            what = chance.random()
            if what < 0.15:  # an agent of this node begins or ends
                for name in some:
                    if not own.claims.remove(name):
                        own.claims.add([Claim(name, clock)])
                actions = shown.agents(some)
            elif what < 0.25 and peers.shown(node):
                peers.leave(0.0, node)
                actions = shown.agents(views[node].claims)
                views[node].claims = Claims()
            else:
                claims = views[node].claims
                for name in some:
                    clock += chance.randint(0, 1)
                    if name in claims and chance.random() < 0.5:
                        claims.remove(name)
                    else:
                        claims.add([Claim(name, max(clock, claims.rank(name)))])
                actions = shown.changed(node, some)
            for action in actions:
                if isinstance(action, NamesHidden):
                    for name in action.names:
                        assert seen.pop(name) == action.node
            for action in actions:
                if isinstance(action, NamesShown):
                    assert not seen.keys() & set(action.names)
                    seen.update(dict.fromkeys(action.names, action.node))
            assert seen == shown.owners == latest(views, peers, own), seed


def test_a_new_name_is_not_looked_for_at_all_nodes() -> None:
    shown, views, _, _ = nodes(100)
    for node, view in views.items():
        view.claims = Looked(Claim(f"{node}/{number}", 1) for number in range(50))
    Looked.times = 0
    for node, view in views.items():
        shown.changed(node, list(view.claims))
    assert len(shown.owners) == 5000
    assert Looked.times == 5000  # each once, where it is new; at all nodes it would be 500,000


def test_patterns_are_those_of_all_nodes_and_told_when_they_change() -> None:
    shown, views, _, _ = nodes(3)

    def around(node: str, *patterns: str) -> list[frozenset[str]]:
        views[node].around = Surroundings((), {"group": patterns})
        return [one.patterns for one in shown.surroundings(node) if isinstance(one, PatternsChanged)]

    assert around("node-0", "news.*") == [{"news.*"}]
    assert around("node-1", "news.*") == []
    assert around("node-1", "news.*", "other.*") == [{"news.*", "other.*"}]
    assert around("node-0", "third") == [{"news.*", "other.*", "third"}]
    del views["node-1"]
    assert [one.patterns for one in shown.surroundings("node-1") if isinstance(one, PatternsChanged)] == [{"third"}]
