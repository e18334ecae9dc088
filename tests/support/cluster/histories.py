"""Many histories of a simulated network: played by one process for each core, or until one shows a planted fault."""

import os
import re
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context

import pytest

from tests.support.cluster.simulation import Broken, History

_AT_ONCE = 25  # histories that a process plays before it is given others


class Histories:
    """The processes, while a module of tests runs."""

    def __init__(self, processes: ProcessPoolExecutor) -> None:
        self._processes = processes

    def hold(self, kind: type[History], seeds: range) -> None:
        """Play a history for each seed; a promise that one breaks fails the test, and says how to repeat it."""
        for why in self._processes.map(broken_by, [kind] * len(seeds), seeds, chunksize=_AT_ONCE):
            if why:
                pytest.fail(why)


@contextmanager
def histories() -> Iterator[Histories]:
    """Start the processes, and end them."""
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as processes:
        try:
            yield Histories(processes)
        finally:
            processes.shutdown(cancel_futures=True)


def broken_by(kind: type[History], seed: int) -> str:
    """Return what the history of a seed breaks, and how to repeat it; "" if it holds."""
    why = broken_in(kind(seed))
    line = f"python -c 'from {kind.__module__} import {kind.__name__} as H; H({seed}).run()'"
    return f"seed {seed}: {why}\nto repeat it: {line}" if why else ""


def broken_in(history: History) -> str:
    """Play a history; return which promise it breaks, "" if none."""
    try:
        history.run()
    except Broken as broken:
        return str(broken)
    return ""


def find_fault(kind: type[History], seeds: range, *found: str) -> None:
    """Play histories until a complaint matches each expression of `found`; where none does, the planted fault is not
    found, and the test fails."""
    missing, complaints = set(found), set[str]()
    for seed in seeds:
        if not missing:
            return
        complaint = broken_in(kind(seed))
        missing -= {each for each in missing if complaint and re.search(each, complaint)}
        complaints.add(complaint)
    if missing:
        showed = complaints - {""} or "nothing"
        pytest.fail(f"{len(seeds)} histories did not show {sorted(missing)}; what they showed: {showed}")
