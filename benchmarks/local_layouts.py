"""Raw batched decode by KV layout and width, and by the spin of OpenMP's threads: the base of two decisions."""

import os
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.harness import Benchmark, Context, Row
from benchmarks.local_peers import subjects
from benchmarks.local_peers.random_models import model

STEPS = 12
CORES = os.cpu_count() or 1
SPINS = {
    "spin 2000": {"GOMP_SPINCOUNT": "2000"},
    "default": {"GOMP_SPINCOUNT": "300000"},  # OpenMP's own default; local_models sets 2000 where it is unset
    "passive": {"OMP_WAIT_POLICY": "passive"},
}
CODE = (
    "import sys; from benchmarks.local_peers import subjects; from pathlib import Path; "
    "print(subjects.raw_decode(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), 512, unified=sys.argv[4] == '1'))"
)


def _rate(width: int, *, unified: bool = False, spin: str = "spin 2000", threads: int = subjects.THREADS) -> float:
    """Measures the rate in a separate process, because OpenMP reads its environment once."""
    environment = {key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")}
    environment |= SPINS[spin] | {"LOCAL_BENCHMARK_THREADS": str(threads)}
    arguments = [str(model("random-30m-spm")), str(width), str(STEPS), str(int(unified))]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def run(context: Context) -> Iterator[Row]:
    rounds = context.rounds(3, least=1)
    samples: dict[tuple[str, str], list[float]] = {}
    for number in range(rounds):
        for width in (1, 16, 64):
            context.progress(f"round {number + 1} of {rounds}, {width} sequences")
            for layout in ("split", "unified"):
                rate = _rate(width, unified=layout == "unified")
                samples.setdefault((f"{width} sequences", layout), []).append(rate)
        for width in (1, 16):
            context.progress(f"round {number + 1} of {rounds}, {width} sequences, spin")
            for spin in SPINS:
                rate = _rate(width, spin=spin, threads=CORES)
                samples.setdefault((f"{width} sequences, {CORES} threads", spin), []).append(rate)
    for (case, subject), values in samples.items():
        yield Row(case=case, subject=subject, unit="tokens/s", samples=values, higher_is_better=True)


BENCHMARK = Benchmark(
    summary="raw decode of a 30M model by KV layout and by OpenMP's spin",
    run=run,
    notes=(
        f"Layouts with {subjects.THREADS} threads and GOMP_SPINCOUNT=2000. The spin matters where threads meet, so it "
        f"is measured on all {CORES} cores; it matters most where another process needs one of them."
    ),
)
