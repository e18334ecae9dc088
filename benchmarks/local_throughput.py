"""Throughput: tokens a second of 64 agents at once on one model, beside raw decode, llama-server and `Llama`."""

from collections.abc import Iterator

from benchmarks.harness import Benchmark, Context, Missing, Row
from benchmarks.local_peers import rates
from benchmarks.local_peers.random_models import model
from local_models.files import TINY

CASES = (("tiny", TINY, 192, 5), ("30M", None, 48, 3))  # tokens, rounds


def run(context: Context) -> Iterator[Row | Missing]:
    for case, path, tokens, rounds in CASES:
        yield from rates.compared(
            case, path or model("random-30m-spm"), tokens, context.rounds(rounds, least=1), context.progress
        )


BENCHMARK = Benchmark(
    summary="64 agents at once: tokens a second of all together",
    run=run,
    targets=[target for case, *_ in CASES for target in rates.targets(case)],
    notes=rates.NOTES,
)
