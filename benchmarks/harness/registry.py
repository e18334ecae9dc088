"""Finds the benchmarks: each file beside this package that has a `BENCHMARK`."""

import importlib
import pkgutil
from pathlib import Path

from benchmarks.harness.model import Benchmark

FOLDER = Path(__file__).resolve().parent.parent


def names() -> list[str]:
    return sorted(
        module.name
        for module in pkgutil.iter_modules([str(FOLDER)])
        if not module.ispkg and not module.name.startswith("_")
    )


def load(name: str) -> Benchmark:
    found = importlib.import_module(f"benchmarks.{name}").BENCHMARK
    assert isinstance(found, Benchmark)
    return found
