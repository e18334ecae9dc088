"""The histogram: how wrong a quantile may be, and that what was added can be taken away."""

import math

from hypothesis import given
from hypothesis import strategies as st

from three_mode.histogram import MOST, TWENTIETH, Histogram

SECONDS = st.lists(st.floats(2e-6, MOST), min_size=1, max_size=200)


def histogram_of(samples: list[float]) -> Histogram:
    histogram = Histogram(TWENTIETH)
    for sample in samples:
        histogram.add(sample)
    return histogram


@given(SECONDS, st.floats(0.01, 1.0))
def test_a_quantile_is_at_most_a_twentieth_too_much(samples: list[float], share: float) -> None:
    true = sorted(samples)[max(0, math.ceil(share * len(samples)) - 1)]
    found = histogram_of(samples).quantile(share)
    assert found is not None
    assert true * 0.999 <= found <= true * 1.051


@given(SECONDS, SECONDS, st.floats(0.01, 1.0))
def test_what_is_taken_away_leaves_no_trace(kept: list[float], others: list[float], share: float) -> None:
    histogram = histogram_of(kept + others)
    histogram.merge(histogram_of(others), -1)
    assert histogram.total == len(kept)
    assert histogram.quantile(share) == histogram_of(kept).quantile(share)


def test_durations_that_nobody_waits_for_are_counted_in_bounded_memory() -> None:
    histogram = histogram_of([0.0, 1e-9, 1e9, math.inf, *(1.001**n for n in range(-10_000, 10_000))])
    assert histogram.total == 20_004
    assert len(histogram._counts) <= 520
