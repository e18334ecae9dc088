"""64 agents at once on one model: tokens a second of all together, beside raw decode, llama-server and `Llama`."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

from benchmarks.harness import Benchmark, Context, Missing, Row, Target
from benchmarks.local_peers import subjects
from benchmarks.local_peers.random_models import model
from local_models.catalogue import TINY

AGENTS, CONTEXT = 64, 512
SLOTS = (16, 64)  # llama-server is measured at both; the better one counts


def cases(context: Context) -> dict[str, tuple[Path, int]]:
    found = {"tiny": (TINY, 128), "30M": (model("random-30m-spm"), 96)}
    if not context.quick:
        found["200M"] = (model("random-200m-spm"), 48)
    return found


def prompt(number: int) -> str:
    return subjects.words(1, number)


async def _ours(path: Path, tokens: int) -> float:
    async with subjects.ours(path, AGENTS, CONTEXT) as engine:
        await subjects.ask_ours(engine, "warm", 4, stream=False)
        asks = [subjects.ask_ours(engine, prompt(n), tokens, str(n), stream=False) for n in range(AGENTS)]
        answers, seconds = await subjects.together(asks)
        return sum(answer.tokens for answer in answers) / seconds


async def _server(path: Path, tokens: int, slots: int) -> float:
    async with subjects.server(path, slots, CONTEXT) as port:
        await subjects.ask_server(port, "warm", 4, stream=False)
        asks = [subjects.ask_server(port, prompt(n), tokens, stream=False) for n in range(AGENTS)]
        answers, seconds = await subjects.together(asks)
        return sum(answer.tokens for answer in answers) / seconds


def _llama(path: Path, tokens: int) -> float:
    import time

    serial = subjects.llama(path, CONTEXT)
    try:
        subjects.ask_llama(serial, "warm", 4)
        started = time.perf_counter()
        made = sum(subjects.ask_llama(serial, prompt(n), tokens) for n in range(6))
        return made / (time.perf_counter() - started)
    finally:
        serial.close()


def run(context: Context) -> Iterator[Row | Missing]:
    rounds = context.rounds(5, least=2)
    for case, (path, tokens) in cases(context).items():
        rates: dict[str, list[float]] = {"three-mode": [], "raw decode": [], "Llama": [], "llama-server": []}
        slots_used: dict[int, list[float]] = {slots: [] for slots in SLOTS}
        for _ in range(rounds):
            context.progress(case)
            rates["raw decode"].append(
                max(subjects.raw_decode(path, width, tokens, CONTEXT) for width in (32, AGENTS))
            )
            rates["three-mode"].append(asyncio.run(_ours(path, tokens)))
            rates["Llama"].append(_llama(path, tokens))
            if subjects.server_binary():
                for slots in SLOTS:
                    slots_used[slots].append(asyncio.run(_server(path, tokens, slots)))
        if subjects.server_binary():
            best = max(slots_used, key=lambda slots: sorted(slots_used[slots])[rounds // 2])
            rates["llama-server"] = slots_used[best]
        else:
            del rates["llama-server"]
            yield Missing(case=case, subject="llama-server", how_to_get=subjects.HOW_TO_GET_SERVER)
        for subject, samples in rates.items():
            note = f"{best} slots" if subject == "llama-server" else ""
            yield Row(
                case=case, subject=subject, unit="tokens/s", samples=samples, higher_is_better=True, note=note
            )


BENCHMARK = Benchmark(
    summary="64 agents at once: tokens a second of all together",
    run=run,
    targets=[
        target
        for case in ("tiny", "30M", "200M")
        for target in (
            Target(case=case, subject="three-mode", peer="raw decode", at_least=0.9),
            Target(case=case, subject="three-mode", peer="llama-server", at_least=1.0),
            Target(case=case, subject="three-mode", peer="Llama", at_least=2.5),
        )
    ],
    notes=(
        "Same GGUF, same threads, same prompts, greedy. three-mode reads its short prompts in the measured time, raw decode has none. "
        "Peers run with the same short spin at OpenMP barriers (GOMP_SPINCOUNT) that local_models sets."
    ),
)
