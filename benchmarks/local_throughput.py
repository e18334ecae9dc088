"""64 agents at once on one model: tokens a second of all together, beside raw decode, llama-server and `Llama`."""

from collections.abc import Iterator

from benchmarks.harness import Benchmark, Context, Missing, Row
from benchmarks.local_peers import rates
from benchmarks.local_peers.random_models import model
from local_models.catalogue import TINY

ROUNDS = 3


def run(context: Context) -> Iterator[Row | Missing]:
    for case, path, tokens in (("tiny", TINY, 192), ("30M", model("random-30m-spm"), 48)):
        yield from rates.compared(case, path, tokens, context.rounds(ROUNDS, least=1), context.progress)


BENCHMARK = Benchmark(
    summary="64 agents at once: tokens a second of all together",
    run=run,
    targets=[target for case in ("tiny", "30M") for target in rates.targets(case)],
    notes=rates.NOTES,
)
