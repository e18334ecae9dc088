"""Raw batched decode by KV layout and width, and by how long OpenMP's threads spin at a barrier: what two decisions rest on."""

import os
import subprocess
import sys
from collections.abc import Iterator

from benchmarks.harness import Benchmark, Context, Row
from benchmarks.local_peers import subjects
from benchmarks.local_peers.random_models import model

SPINS = {"default": {}, "passive": {"OMP_WAIT_POLICY": "passive"}, "spin 2000": {"GOMP_SPINCOUNT": "2000"}}
CODE = (
    "import sys; from benchmarks.local_peers import subjects; from pathlib import Path; "
    "print(subjects.raw_decode(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), 512, unified=sys.argv[4] == '1'))"
)


def _rate(width: int, steps: int, *, unified: bool, spin: dict[str, str]) -> float:
    """In a process of its own: OpenMP reads its environment once. llama-cpp-python's own choice is switched off by one of the
    two variables, so the default is asked for with the value that OpenMP itself would take."""
    environment = {
        key: value for key, value in os.environ.items() if key not in ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT")
    }
    environment |= spin or {"GOMP_SPINCOUNT": "300000"}
    arguments = [str(model("random-30m-spm")), str(width), str(steps), str(int(unified))]
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    return float(done.stdout)


def run(context: Context) -> Iterator[Row]:
    rounds, steps = context.rounds(5, least=2), 16
    for width in (1, 16, 64):
        samples: dict[str, list[float]] = {}
        for _ in range(rounds):
            context.progress(f"{width} sequences")
            for unified in (False, True):
                name = "unified" if unified else "split"
                samples.setdefault(name, []).append(
                    _rate(width, steps, unified=unified, spin=SPINS["spin 2000"])
                )
            for name, spin in SPINS.items():
                if name != "spin 2000":
                    samples.setdefault(f"split, {name}", []).append(
                        _rate(width, steps, unified=False, spin=spin)
                    )
        for subject, values in samples.items():
            yield Row(
                case=f"{width} sequences",
                subject=subject,
                unit="tokens/s",
                samples=values,
                higher_is_better=True,
            )


BENCHMARK = Benchmark(
    summary="raw decode of a 30M model by KV layout and by OpenMP's spin",
    run=run,
    notes=f"{subjects.THREADS} threads; split and unified with GOMP_SPINCOUNT=2000.",
)
