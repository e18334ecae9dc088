"""Patterns that are found by an index are those that a look at each of them finds, in the same order."""

import random

import pytest

from transports.bus import SubscribeOptions
from transports.bus.pubsub.subscriptions import Subscription, Subscriptions
from transports.bus.topics import PatternIndex, matches


@pytest.mark.parametrize("seed", range(20))
def test_index_finds_what_a_look_at_each_pattern_finds(seed: int) -> None:
    chance = random.Random(seed)
    words = ["a", "b", "c", "*"]

    def pattern() -> str:
        chosen = [chance.choice(words) for _ in range(chance.randint(1, 4))]
        return ".".join([*chosen, ">"] if chance.random() < 0.3 else chosen)

    index, kept = PatternIndex(), dict[str, None]()
    for _ in range(300):
        one = pattern()
        if one in kept:
            index.remove(one)
            del kept[one]
        else:
            index.add(one)
            kept[one] = None
        topic = ".".join(chance.choice(["a", "b", "c", "d", "*", ">", ""]) for _ in range(chance.randint(1, 5)))
        assert index.matching(topic) == [found for found in kept if matches(found, topic)], topic
    for one in list(kept):
        index.remove(one)
    assert not index._root.followers


@pytest.mark.timeout(30)
def test_ten_thousand_subscriptions_and_topics() -> None:
    """More topics than the cache of routes holds: each is matched anew, which must not try all patterns."""

    async def close(_: Subscription) -> None: ...

    table = Subscriptions()
    table.add(Subscription(f"agent.{n}.news", print, SubscribeOptions(), close) for n in range(10_000))
    for _ in range(3):
        for n in range(10_000):
            route = table.route(f"agent.{n}.news")
            assert route is not None
            assert len(route) == 1
