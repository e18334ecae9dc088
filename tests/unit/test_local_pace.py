"""What a step spends on prompts follows what steps were measured to take."""

from math import inf

from local_models.pace import Pace

PLAIN = 0.010  # what 16 writers take


def cost(position: int) -> float:
    """Seconds of a prompt token: a millisecond at the beginning, five at 2,000."""
    return 0.001 * (1 + position / 500)


def learned(target: float) -> Pace:
    pace = Pace(target, batch=512)
    for _ in range(20):
        pace.learn(16, [], PLAIN)
        pace.learn(16, [(0, 20)], PLAIN + 20 * 0.001)
    return pace


def read(pace: Pace, length: int) -> list[float]:
    """Reads a prompt beside 16 writers; gives what each step took."""
    position, steps = 0, []
    while position < length:
        count = max(int(pace.allowance(16, 1) / pace.price(position)), 1)
        seconds = PLAIN + count * cost(position + count // 2)
        pace.learn(16, [(position, count)], seconds)
        steps.append(seconds)
        position += count
    return steps


def test_without_writers_there_is_no_limit() -> None:
    assert learned(0.02).allowance(0, 5) == inf


def test_beside_writers_a_step_is_as_long_as_was_asked() -> None:
    pace = learned(0.030)
    assert 0.018 <= pace.allowance(16, 1) <= 0.024
    assert 18 <= pace.allowance(16, 1) / pace.price(0) <= 24


def test_a_prompt_gets_as_much_as_the_writers_though_less_time_was_asked() -> None:
    assert PLAIN <= learned(0.001).allowance(16, 1) <= 1.3 * PLAIN


def test_a_long_prompt_takes_the_same_time_of_every_step() -> None:
    pace = Pace(0.030, batch=512)
    for _ in range(5):
        pace.learn(16, [], PLAIN)
    steps = read(pace, 2000)
    assert max(steps[3:]) < 1.25 * 0.030, "a deep part was read at the price of a shallow one"
    assert sum(steps[3:-1]) / len(steps[3:-1]) > 0.8 * 0.030, "time that was there was not used"


def test_what_was_learned_at_one_depth_does_not_change_another() -> None:
    pace = Pace(0.030, batch=512)
    for _ in range(5):
        pace.learn(16, [], PLAIN)
    read(pace, 2000)
    assert pace.price(1900) > 2.5 * pace.price(0)


def test_many_who_wait_weigh_more_than_few_who_write() -> None:
    pace = learned(0.02)
    assert pace.allowance(1, 63) > 4 * pace.allowance(16, 1)


def test_a_step_of_prompts_alone_says_nothing_of_those_beside_writers() -> None:
    pace = learned(0.02)
    before = pace.price(0)
    pace.learn(0, [(0, 512)], 0.1)
    assert pace.price(0) == before
