"""How long a reader stays up: learnt from its sleeps."""

from transports.bus.rings.native import Patience

LIMIT = 100_000  # nanoseconds, like all of it
SECOND = 1_000_000_000


def slept(patience: Patience, now: int, asleep: int) -> int:
    patience.lay_down = now
    patience.woken(now + asleep)
    return now + asleep


def test_short_sleeps_keep_it_up_longer_each_time_up_to_the_limit() -> None:
    patience = Patience(LIMIT)
    assert patience.span == 0
    now, spans = SECOND, []
    for _ in range(5):
        now = slept(patience, now, 30_000)
        spans.append(patience.span // 1000)
    assert spans == [20, 40, 80, 100, 100]


def test_long_sleeps_end_in_no_patience_at_all() -> None:
    patience = Patience(LIMIT)
    now = SECOND
    for _ in range(5):
        now = slept(patience, now, 30_000)
    for _ in range(4):
        now = slept(patience, now, 10_000_000)
    assert patience.span == 0
    assert not patience.lasts(now, 1)


def test_it_lasts_from_the_latest_message() -> None:
    patience = Patience(LIMIT)
    now = slept(patience, SECOND, 30_000)
    assert patience.lasts(now, 1)
    assert patience.lasts(now + patience.span // 2, 3)
    assert patience.lasts(now + patience.span, 0)
    assert not patience.lasts(now + 2 * patience.span, 0)


def test_a_bell_that_rings_while_we_are_up_says_nothing() -> None:
    patience = Patience(LIMIT)
    now = slept(patience, SECOND, 30_000)
    before = patience.span
    patience.woken(now + SECOND)
    assert patience.span == before


def test_a_crowded_core_ends_it_at_once_and_makes_it_shorter_each_time() -> None:
    patience = Patience(LIMIT)
    now = SECOND
    for _ in range(5):
        now = slept(patience, now, 30_000)
    spans = []
    for _ in range(4):
        assert patience.lasts(now, 1)
        patience.ends(now)
        assert not patience.lasts(now, 0)
        spans.append(patience.span // 1000)
    assert spans == [50, 25, 12, 0]


def test_a_limit_of_nothing_is_no_patience() -> None:
    never = Patience(0)
    slept(never, SECOND, 1)
    assert never.span == 0


def test_who_gives_a_core_to_it_has_it_stay_up_after_each_message_and_no_longer() -> None:
    patience, spin = Patience(LIMIT, 2 * LIMIT), 2 * LIMIT
    assert not patience.lasts(SECOND, 0)  # no message has come
    now = SECOND
    for asleep in (30_000, 10_000_000, 10_000_000, 30_000):  # whatever its sleeps are like
        now = slept(patience, now, asleep)
        assert patience.lasts(now, 1)
        assert patience.lasts(now + spin - 1, 0)
        assert not patience.lasts(now + spin, 0)
    assert patience.lasts(now, 1)
    patience.ends(now)  # it gives way all the same
    assert not patience.lasts(now, 0)


def test_who_spins_is_without_the_core_for_longer_where_others_want_it_again_and_again() -> None:
    patience = Patience(LIMIT, 2 * LIMIT)
    now, away = SECOND, []
    for _ in range(9):
        patience.ends(now)
        started = now
        while patience.span < 2 * LIMIT:
            now = slept(patience, now, 500_000)
        away.append((now - started) // 1_000_000)
    assert away == [1, 2, 4, 8, 16, 32, 64, 100, 100]
    now += SECOND
    patience.ends(now)
    slept(patience, now, 1_000_000)
    assert patience.span == 2 * LIMIT
