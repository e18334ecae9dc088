"""Resources of this machine that a program may use: the processor cores, and the memory that is free.

A container may have less of both than its machine: its limits (cgroup v2) count where they are lower.
"""

import os
from pathlib import Path

_GROUP = Path("/sys/fs/cgroup")


def cores() -> int:
    """Returns how many processor cores this program may use at once."""
    try:
        there = len(os.sched_getaffinity(0))
    except AttributeError:
        there = os.cpu_count() or 1
    return max(min(there, _quota_of(_group_file("cpu.max"), there)), 1)


def available_bytes() -> int:
    """Returns the memory that is free; on Linux without psutil, whose import takes as long as all of a load."""
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            there = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        import psutil

        there = int(psutil.virtual_memory().available)
    return min(there, _left_of(_group_file("memory.max"), _group_file("memory.current"), _group_file("memory.stat")))


def _group_file(name: str) -> str:
    """Returns a file of the control group of this program; "" where there is none."""
    try:
        return (_GROUP / name).read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""


def _quota_of(text: str, otherwise: int) -> int:
    """Returns the whole cores of a `cpu.max`, such as `200000 100000`."""
    quota, _, period = text.strip().partition(" ")
    if not (quota.isdigit() and period.isdigit() and int(period)):
        return otherwise
    return int(quota) // int(period)


def _left_of(most: str, used: str, statistics: str) -> int:
    """Returns the bytes that a control group has left. Its pages of files can be had back."""
    if not (most.strip().isdigit() and used.strip().isdigit()):
        return 1 << 62
    words = dict(line.split(" ", 1) for line in statistics.splitlines() if " " in line)
    files = words.get("inactive_file", "0")
    return max(int(most) - int(used) + (int(files) if files.isdigit() else 0), 0)
