"""First token: 64 agents with a common system prompt of 512 tokens start together."""

from collections.abc import Iterator

from benchmarks.harness import Benchmark, Context, Missing, Row, Target
from benchmarks.local_peers import first_tokens
from benchmarks.local_peers.random_models import model

AGENTS = 64


def run(context: Context) -> Iterator[Row | Missing]:
    path = model("random-30m-spm")
    yield from first_tokens.compared("{}", path, AGENTS, context.rounds(2, least=1), context.progress)


BENCHMARK = Benchmark(
    summary="64 agents with a common system prompt: time to the first token",
    run=run,
    targets=[
        Target(case="cold", subject="three-mode", peer="llama-server", at_most=0.1),
        Target(case="warm", subject="three-mode", peer="llama-server", at_most=1.0),
    ],
    notes="30M model, 64 slots each. Warm: the same 64 prompts a second time.",
)
