"""What a step spends on prompts follows what steps were measured to take."""

from collections.abc import Callable
from math import inf

from local_models.engine.pace import PrefillPace, ThreadPace

PLAIN = 0.010  # what 16 writers take


def cost(position: int) -> float:
    """Seconds of a prompt token: a millisecond at the beginning, five at 2,000."""
    return 0.001 * (1 + position / 500)


def learned(target: float) -> PrefillPace:
    pace = PrefillPace(target, batch=512)
    for _ in range(20):
        pace.record_step(16, [], PLAIN)
        pace.record_step(16, [(0, 20)], PLAIN + 20 * 0.001)
    return pace


def read(pace: PrefillPace, length: int, plain: Callable[[int], float] = lambda _: PLAIN) -> list[tuple[int, float]]:
    """Reads a prompt beside 16 writers that take `plain(step)`; gives what each step read and took."""
    position, steps = 0, list[tuple[int, float]]()
    while position < length:
        allowance = pace.allowance(16, 1)
        count = max(int(allowance / pace.price(position)), 1) if allowance else 0
        seconds = plain(len(steps)) + count * cost(position + count // 2)
        pace.record_step(16, [(position, count)] if count else [], seconds)
        steps.append((count, seconds))
        position += count
    return steps


def test_without_writers_there_is_no_limit() -> None:
    assert learned(0.02).allowance(0, 5) == inf


def test_beside_writers_a_step_is_as_long_as_was_asked() -> None:
    pace = learned(0.030)
    assert 0.018 <= pace.allowance(16, 1) <= 0.024
    assert 18 <= pace.allowance(16, 1) / pace.price(0) <= 24


def test_a_prompt_gets_on_though_less_time_was_asked_than_the_writers_take() -> None:
    assert PLAIN <= learned(0.001).allowance(16, 1) <= 2 * PLAIN


def test_a_long_prompt_takes_the_same_time_of_every_step() -> None:
    pace = PrefillPace(0.030, batch=512)
    for _ in range(5):
        pace.record_step(16, [], PLAIN)
    steps = [seconds for count, seconds in read(pace, 2000)[3:-1] if count]
    assert max(steps) < 1.25 * 0.030, "a deep part was read at the price of a shallow one"
    assert sum(steps) / len(steps) > 0.8 * 0.030, "time that was there was not used"


def test_writers_that_grow_slower_do_not_starve_a_prompt() -> None:
    """As their texts grow they take longer, which must not be laid to the prompt's account."""
    steps = read(learned(0.020), 2000, plain=lambda step: PLAIN * (1 + step / 100))
    assert len(steps) < 300
    assert min(count for count, _ in steps[20:-1] if count) >= 3


def test_what_was_learned_at_one_depth_does_not_change_another() -> None:
    pace = PrefillPace(0.030, batch=512)
    for _ in range(5):
        pace.record_step(16, [], PLAIN)
    read(pace, 2000)
    assert pace.price(1900) > 2.5 * pace.price(0)


def test_many_who_wait_weigh_more_than_few_who_write() -> None:
    pace = learned(0.02)
    assert pace.allowance(1, 63) > 4 * pace.allowance(16, 1)


def test_a_step_of_prompts_alone_says_nothing_of_those_beside_writers() -> None:
    pace = learned(0.02)
    before = pace.price(0)
    pace.record_step(0, [(0, 512)], 0.1)
    assert pace.price(0) == before


def test_all_threads_compute_until_a_loop_needs_a_core() -> None:
    pace, now, taken = ThreadPace(1, 2), 10.0, 3.0
    chosen = []
    for share in (0.0, 0.05, 0.9, 0.9, 0.2, 0.15, 0.05, 0.2, 0.3):
        now, taken = now + 0.05, taken + 0.05 * share
        chosen.append(pace.look(now, taken))
    assert chosen == [2, 2, 1, 1, 1, 1, 2, 2, 1]


def test_a_pause_says_nothing_of_the_loops_now() -> None:
    pace = ThreadPace(1, 2)
    pace.look(10.0, 1.0)
    assert pace.look(60.0, 40.0) == 2
