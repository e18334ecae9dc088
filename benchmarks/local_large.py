"""Large model of 200M parameters: 64 agents at once, and the first token of 8 that share a system prompt."""

from collections.abc import Iterator

from benchmarks.harness import Benchmark, Context, Missing, Row
from benchmarks.local_peers import first_tokens, rates
from benchmarks.local_peers.random_models import model

TOKENS, AGENTS, ROUNDS = 20, 8, 2


def run(context: Context) -> Iterator[Row | Missing]:
    path = model("random-200m-spm")
    rounds = context.rounds(ROUNDS, least=1)
    yield from rates.compared("200M", path, TOKENS, rounds, context.progress, rates.letters)
    if not context.quick:
        yield from first_tokens.compared("200M, {}", path, AGENTS, 1, context.progress)


BENCHMARK = Benchmark(
    summary="the same of a 200M model, in few rounds",
    run=run,
    targets=rates.targets("200M"),
    notes=f"Answers of {TOKENS} tokens; {AGENTS} agents share a prompt that llama-server reads for each. {rates.NOTES}",
)
