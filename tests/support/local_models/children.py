"""Child processes for attacks: a fault that kills or fills a process must not be that of the tests."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import three_mode

ROOT = Path(three_mode.__file__).parents[1]


def run_child(
    script: str,
    *arguments: str,
    text: str = "",
    seconds: float = 60,
    memory: int = 0,
    environment: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a script that reads `text`; returns its end and what it printed.

    The process may take `memory` bytes of data; 0: any number.
    """

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if memory:
            resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))

    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        input=text,
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
        preexec_fn=limit,  # the tests start no threads that hold locks here
    )


def survives(done: "subprocess.CompletedProcess[str]") -> str:
    """Returns what a child printed; fails the test if a signal or an error ended it."""
    assert done.returncode == 0, f"ended with {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout
