"""The budget of prompt tokens follows what steps were measured to take."""

from local_models.pace import Pace


def learned(target: float) -> Pace:
    """16 writers take 10 ms; 1,000 prompt tokens a second beside them."""
    pace = Pace(target, batch=512)
    for _ in range(20):
        pace.learn(16, 0, 0.010)
        pace.learn(16, 20, 0.030)
    return pace


def test_without_writers_a_step_is_as_long_as_the_batch() -> None:
    assert learned(0.02).budget(0, 5) == 512


def test_beside_writers_the_budget_fills_the_time_that_is_left() -> None:
    assert 18 <= learned(0.028).budget(16, 1) <= 24
    assert learned(0.060).budget(16, 1) > learned(0.030).budget(16, 1)


def test_a_prompt_always_gets_on() -> None:
    assert learned(0.001).budget(16, 1) == 16


def test_many_who_wait_weigh_more_than_few_who_write() -> None:
    pace = learned(0.02)
    assert pace.budget(1, 63) > 4 * pace.budget(16, 1)
