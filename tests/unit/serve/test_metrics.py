"""`/metrics` is Prometheus's text format, read here as its definition says, whatever clients call their models."""

import re
from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from three_mode.messages import Usage
from three_mode.serve.metrics import FRESH, EndpointMetrics

NAME = r"[a-zA-Z_:][a-zA-Z0-9_:]*"
LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"({NAME})(?:\{{({LABEL}(?:,{LABEL})*)\}})? (\+Inf|-Inf|NaN|-?[0-9.]+(?:e[+-]?[0-9]+)?)")
HEAD = re.compile(rf"# (HELP|TYPE) ({NAME}) (.+)")
SUFFIXES = ("_bucket", "_sum", "_count")


def parsed(text: str) -> dict[str, dict[str, float]]:
    """Family -> series -> value.

    Each family has one HELP, one TYPE and then its samples, together; no series comes twice.
    """
    assert text.endswith("\n")
    families: dict[str, dict[str, float]] = {}
    kinds: dict[str, str] = {}
    current = ""
    for line in text.split("\n")[:-1]:
        head = HEAD.fullmatch(line)
        if head is not None:
            what, name, said = head.groups()
            if what == "HELP":
                assert name not in families, "a family comes once"
                current, families[name] = name, {}
            else:
                assert name == current
                assert said in ("counter", "gauge", "histogram")
                kinds[name] = said
            continue
        sample = SAMPLE.fullmatch(line)
        assert sample is not None, line
        name, labels, value = sample.groups()
        family = name
        if kinds[current] == "histogram":
            family = next(name.removesuffix(end) for end in SUFFIXES if name.endswith(end))
        assert family == current, "the samples of a family stand together"
        series = f"{name}{{{labels or ''}}}"
        assert series not in families[family], "no series comes twice"
        families[family][series] = float(value)
    return families


calls = st.tuples(
    st.sampled_from(["/v1/chat/completions", "/v1/embeddings", "other"]),
    st.text(max_size=20),
    st.sampled_from([200, 404, 499, 503]),
    st.floats(0, 1000),
)


@given(st.lists(calls, max_size=30))
def test_it_is_prometheus_text(made: list[tuple[str, str, int, float]]) -> None:
    metrics = EndpointMetrics()
    for route, model, status, seconds in made:
        metrics.finished(route, model, status, seconds)
        metrics.used(model, Usage(3, 2))
    found = parsed(metrics.text(2, 5).decode())
    assert sum(found["three_mode_requests_total"].values()) == len(made)
    assert found["three_mode_event_readers"] == {"three_mode_event_readers{}": 2.0}
    assert sum(found["three_mode_tokens_total"].values()) == 5 * len(made)
    buckets: dict[str, list[float]] = defaultdict(list)
    for series, value in found["three_mode_request_seconds"].items():
        if "_bucket{" in series:
            buckets[series.partition('",le=')[0].partition("{")[2]].append(value)
    for labels, values in buckets.items():
        assert values == sorted(values), "buckets are cumulative"
        assert values[-1] == found["three_mode_request_seconds"][f'three_mode_request_seconds_count{{{labels}"}}']


def test_answers_that_are_added_up_together_are_those_that_were_told_one_by_one() -> None:
    together, single = EndpointMetrics(), EndpointMetrics()
    for number in range(2 * FRESH + 3):
        model, seconds = f"m{number % 300}", number / 1000
        together.answered("/v1/chat/completions", model, Usage(3, 2, 1), seconds)
        single.used(model, Usage(3, 2, 1))
        single.finished("/v1/chat/completions", model, 200, seconds)
        if number % 100 == 7:  # a failure has the name of a model that has answered, and of no other
            for metrics in (together, single):
                metrics.finished("/v1/chat/completions", f"m{number}", 502, 0.1)
                metrics.finished("/v1/chat/completions", "never answered", 404, 0.1)
        if number == FRESH + 1:
            assert together.text(0, 0) == single.text(0, 0)
    assert together.text(0, 0) == single.text(0, 0)
