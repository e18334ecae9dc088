"""How long a reader stays up: learnt from its sleeps."""

from transports.bus.rings.patience import Patience

LIMIT = 100e-6


def slept(patience: Patience, now: float, seconds: float) -> float:
    patience.lay_down = now
    patience.woken(now + seconds)
    return now + seconds


def test_short_sleeps_keep_it_up_longer_each_time_up_to_the_limit() -> None:
    patience = Patience(LIMIT)
    assert patience.span == 0.0
    now, spans = 1.0, []
    for _ in range(5):
        now = slept(patience, now, 30e-6)
        spans.append(round(patience.span * 1e6))
    assert spans == [20, 40, 80, 100, 100]


def test_long_sleeps_end_in_no_patience_at_all() -> None:
    patience = Patience(LIMIT)
    now = 1.0
    for _ in range(5):
        now = slept(patience, now, 30e-6)
    for _ in range(4):
        now = slept(patience, now, 0.01)
    assert patience.span == 0.0
    assert not patience.lasts(now, 1)


def test_it_lasts_from_the_latest_message() -> None:
    patience = Patience(LIMIT)
    now = slept(patience, 1.0, 30e-6)
    assert patience.lasts(now, 1)
    assert patience.lasts(now + patience.span / 2, 3)
    assert patience.lasts(now + patience.span, 0)
    assert not patience.lasts(now + 2 * patience.span, 0)


def test_a_bell_that_rings_while_we_are_up_says_nothing() -> None:
    patience = Patience(LIMIT)
    now = slept(patience, 1.0, 30e-6)
    before = patience.span
    patience.woken(now + 1.0)
    assert patience.span == before


def test_a_crowded_core_and_a_limit_of_nothing_end_it() -> None:
    patience = Patience(LIMIT)
    now = slept(patience, 1.0, 30e-6)
    assert patience.lasts(now, 1)
    patience.crowded()
    assert patience.span == 0.0
    assert not patience.lasts(now, 0)
    never = Patience(0.0)
    slept(never, 1.0, 1e-9)
    assert never.span == 0.0
