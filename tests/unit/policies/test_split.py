"""A route that splits by weight: each user keeps to one target, and the shares are those of the weights."""

import subprocess
import sys
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from three_mode import LLMRequest, errors
from three_mode.messages import Image
from three_mode.policies import Prices, Route, Router, Target

ASK = [{"role": "user", "content": "Hello!"}]
A, B, C = Target("openai", "gpt-5", 3.0), Target("anthropic", "claude-sonnet-4-5", 1.0), Target("local", "tiny", 2.0)


def order(
    route: Route, value: object = None, key: str = "user", chance: float = 0.5, **request: object
) -> list[Target]:
    router = Router([route], Prices({}), lambda provider, model: None, lambda: chance)
    asked = LLMRequest(messages=request.get("messages", ASK), metadata={} if value is None else {key: value})  # type: ignore[arg-type]
    return router.order(route.name, asked)


def split(*targets: Target, name: str = "trial", key: str = "user") -> Route:
    return Route(name, targets, "split", key)


def test_a_user_keeps_to_one_target_and_the_shares_are_the_weights() -> None:
    route = split(A, B)
    first = {user: order(route, f"user{user}") for user in range(4000)}
    assert first == {user: order(route, f"user{user}", chance=0.1) for user in range(4000)}
    share = Counter(targets[0] for targets in first.values())[A] / 4000
    assert 0.72 < share < 0.78
    assert all(sorted(targets, key=str) == [B, A] for targets in first.values()), "the other one is the fallback"


def test_the_same_in_every_process() -> None:
    code = (
        "from three_mode.policies.routing import _distance, Target;"
        "print([_distance('trial', user, Target('a', 'b', 2.0)) for user in ('ann', 7, 'é')])"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True
        ).stdout
        for seed in ("1", "2")
    }
    assert said == {"[0.11320755646918561, 0.5722885825187819, 0.3979152378924963]\n"}


def test_two_routes_split_apart() -> None:
    one, two = split(A, B, name="one"), split(A, B, name="two")
    both = Counter((order(one, user)[0], order(two, user)[0]) for user in range(2000))
    assert len(both) == 4, "who is in one group of the first may be in either of the second"


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30), st.floats(0.1, 10))
def test_a_target_that_is_added_moves_nobody_between_the_others(users: list[int], weight: float) -> None:
    before, after = split(A, B), split(A, B, Target("local", "tiny", weight))
    for user in users:
        now = order(after, user)
        assert [target for target in now if target in (A, B)] == order(before, user)


def test_a_weight_that_grows_only_takes() -> None:
    more = Target(B.provider, B.model, 2.0)
    for user in range(500):
        if order(split(A, B), user)[0] is B:
            assert order(split(A, more), user)[0] is more


def test_a_conversation_may_be_the_key() -> None:
    route = split(A, B, key="conversation")
    found = {order(route, f"talk{number}", key="conversation")[0] for number in range(50)}
    assert found == {A, B}
    assert {order(route, number, key="user", chance=0.01)[0] for number in range(50)} == {A}, "drawn: it has no key"


@pytest.mark.parametrize("value", [None, ""])
def test_without_a_key_it_is_drawn_by_weight(value: object) -> None:
    assert order(split(A, B), value, chance=0.1)[0] is A
    assert order(split(A, B), value, chance=0.9)[0] is B


def test_a_target_without_weight_is_fallback_alone() -> None:
    idle = Target("local", "tiny", 0.0)
    for user in range(200):
        assert order(split(idle, A, B), user)[-1] is idle


def test_who_cannot_do_what_is_asked_is_left_out_and_the_others_stay() -> None:
    blind = Target("openai", "gpt-3.5-turbo", 5.0)
    image = [{"role": "user", "content": [Image(url="https://x.test/a.png")]}]
    for user in range(50):
        assert order(split(blind, A, B), user, messages=image) == order(split(A, B), user)


def test_any_value_is_a_key() -> None:
    for value in (0, False, 1.5, ["a"], {"b": 1}, "é"):
        assert set(order(split(A, B), value)) == {A, B}


def test_wrong_routes_are_named() -> None:
    with pytest.raises(errors.ConfigurationError, match="entry of metadata"):
        split(A, key="")
    with pytest.raises(errors.ConfigurationError, match="weight above 0"):
        split(Target("a", "b", 0.0))
    with pytest.raises(errors.ConfigurationError, match="weight, split or a function"):
        Route("r", (A,), "halves")  # type: ignore[arg-type]
