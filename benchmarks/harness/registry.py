"""Registry of the benchmarks: each file beside this package is one."""

import importlib
import pkgutil
from pathlib import Path

from benchmarks.harness.model import Benchmark

FOLDER = Path(__file__).resolve().parent.parent


def names() -> list[str]:
    """Returns the names of all benchmarks."""
    return sorted(
        module.name
        for module in pkgutil.iter_modules([str(FOLDER)])
        if not module.ispkg and not module.name.startswith("_")
    )


def load(name: str) -> Benchmark:
    """Imports a benchmark."""
    found = importlib.import_module(f"benchmarks.{name}").BENCHMARK
    assert isinstance(found, Benchmark)
    return found
