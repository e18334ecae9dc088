"""Harness of the benchmarks. A benchmark is a file `benchmarks/NAME.py` with one `BENCHMARK`:

    from collections.abc import Iterator
    from benchmarks.harness import Benchmark, Context, Row, Target, alternate

    def run(context: Context) -> Iterator[Row]:
        samples = alternate({"three-mode": ours, "pyzmq": theirs}, rounds=context.rounds(30))
        for subject, seconds in samples.items():
            yield Row(case="echo", subject=subject, unit="us", samples=[1e6 * s for s in seconds])

    BENCHMARK = Benchmark(
        summary="one line: what is measured",
        run=run,
        targets=[Target(case="echo", subject="three-mode", peer="pyzmq", at_most=0.2)],
    )

Subjects that are compared run in the same call, in turn (`alternate`), and are quoted as a ratio of medians. A peer
that is not installed gives a `Missing(case, subject, how_to_get)` in place of a row.
"""

from benchmarks.harness.model import FLOOR, Benchmark, Context, Missing, Result, Row, Target, Verdict
from benchmarks.harness.timing import alternate, alternate_async, timed, timed_async

__all__ = [
    "FLOOR",
    "Benchmark",
    "Context",
    "Missing",
    "Result",
    "Row",
    "Target",
    "Verdict",
    "alternate",
    "alternate_async",
    "timed",
    "timed_async",
]
