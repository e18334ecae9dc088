"""Runs all tests, as `make test` does: two pytest processes beside each other, and one summary of both at the end.

    python -m scripts.run_tests

Tests for which any speed is right (`ANY_SPEED`) have a process of their own, at a low priority: it takes the time that
the others leave while they wait. The others meet clocks, kills and full machines; they run one after another, nearly as
if they were alone. What they print is shown as it comes, and what the first process printed behind it. The last line
counts all tests, in the form of pytest's own summary.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

ROOT = Path(__file__).resolve().parent.parent
ANY_SPEED = (
    "tests/contract/http2",
    "tests/contract/providers",
    "tests/fuzz",
    "tests/integration/compat",
    "tests/integration/connection",
    "tests/integration/project",
    "tests/integration/providers",
    "tests/integration/tools",
    "tests/unit",
)
PRIORITY = 5
"""How far the process with these tests stands back: it gets a quarter of a core that both want."""
PYTEST = (sys.executable, "-m", "pytest", "--color=no")
FIRST = (*PYTEST, "-o", "cache_dir=.pytest_cache/any_speed", *ANY_SPEED)
OTHERS = (*PYTEST, *(f"--ignore={path}" for path in ANY_SPEED))
KINDS = ("failed", "passed", "skipped", "deselected", "xfailed", "xpassed", "warning", "error")
"""What a summary counts, in pytest's order."""
IN_PLURAL = ("warning", "error")
SUMMARY = re.compile(r"^=+ (.+) in [0-9.]+s(?: \([^)]*\))? =+$", re.MULTILINE)


@dataclass(frozen=True)
class Ended:
    """How a pytest process has ended: its exit status, and the end of what it printed."""

    code: int
    said: str

    @property
    def counts(self) -> Counter[str]:
        """What its summary counts. A process that failed and counts nothing that failed is one error."""
        counts = counts_of(self.said)
        if self.code and not (counts["failed"] or counts["error"]):
            counts["error"] += 1
        return counts


def counts_of(said: str) -> Counter[str]:
    """Return what the last summary counts; nothing where there is none."""
    summaries = SUMMARY.findall(said)
    singular = {f"{kind}s": kind for kind in IN_PLURAL}
    found = re.findall(r"(\d+) (\w+)", summaries[-1]) if summaries else ()
    return Counter({singular.get(kind, kind): int(number) for number, kind in found})


def summed_up(ended: Iterable[Ended], seconds: float) -> str:
    """Return one summary of all processes."""
    counts = sum((one.counts for one in ended), Counter[str]())
    words = {kind: f"{kind}s" if kind in IN_PLURAL and counts[kind] > 1 else kind for kind in KINDS if counts[kind]}
    said = ", ".join(f"{counts[kind]} {word}" for kind, word in words.items())
    minutes, rest = divmod(int(seconds), 60)
    clock = f" ({minutes // 60}:{minutes % 60:02}:{rest:02})" if minutes else ""
    return f" {said or 'no tests ran'} in {seconds:.2f}s{clock} ".center(80, "=")


def show(output: IO[bytes]) -> str:
    """Print what is read as it comes; return the end of it."""
    end = b""
    while some := os.read(output.fileno(), 1 << 16):
        sys.stdout.buffer.write(some)
        sys.stdout.buffer.flush()
        end = (end + some)[-(1 << 16) :]
    return end.decode(errors="replace")


def run(first: Iterable[str] = FIRST, others: Iterable[str] = OTHERS) -> int:
    """Run two commands beside each other and sum up; return 0 if all tests passed."""
    started = time.monotonic()
    with tempfile.TemporaryFile() as said:
        behind = subprocess.Popen(tuple(first), cwd=ROOT, stdout=said, stderr=subprocess.STDOUT)
        try:
            os.setpriority(os.PRIO_PROCESS, behind.pid, PRIORITY)
            before = subprocess.Popen(tuple(others), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            assert before.stdout is not None
            with before, before.stdout as output:
                end = show(output)
            code = behind.wait()
        finally:
            behind.kill()
        ended = [Ended(before.returncode, end)]
        said.seek(0)
        ended.append(Ended(code, show(said)))
    print(summed_up(ended, time.monotonic() - started), flush=True)
    return next((one.code for one in ended if one.code), 0)


if __name__ == "__main__":
    sys.exit(run())
