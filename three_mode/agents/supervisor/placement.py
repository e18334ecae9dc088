"""Placement: spread new agents over hosts, the least loaded host first. Pure."""

import heapq
from collections.abc import Mapping, Sequence

from three_mode.errors import ModeUnavailable


def place(numbers: Sequence[int], loads: Mapping[str, int]) -> dict[str, list[int]]:
    """Return host -> the numbers that it gets. Neighbours stay together, so that groups stay compact."""
    if not loads:
        raise ModeUnavailable("no host is running", hint="all have failed too often: see Orchestrator.table()")
    counts = dict.fromkeys(loads, 0)
    queue = [(load, order, host) for order, (host, load) in enumerate(loads.items())]
    heapq.heapify(queue)
    for _ in numbers:
        load, order, host = queue[0]
        counts[host] += 1
        heapq.heapreplace(queue, (load + 1, order, host))
    placed: dict[str, list[int]] = {}
    start = 0
    for host, count in counts.items():
        if count:
            placed[host] = list(numbers[start : start + count])
            start += count
    return placed
