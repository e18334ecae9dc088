"""Time of `import` in a fresh interpreter."""

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

from benchmarks._peers import how_to_get as get_peer
from benchmarks._peers import program
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate

CASE = "import in a fresh interpreter, beyond the interpreter's own start"
STATEMENTS = {
    "three-mode": "import three_mode",
    "three-mode, with every public name": "from three_mode import *",
    "httpx": "import httpx",
    "openai": "import openai",
    "anthropic": "import anthropic",
    "litellm": "import litellm",
}


def start(statement: str, python: str = sys.executable) -> Callable[[], float]:
    """Sample of seconds of a fresh interpreter that runs a statement."""
    # Compiled once, by the round that warms up, as installed packages are.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}

    def sample() -> float:
        started = time.perf_counter()
        subprocess.run([python, "-c", statement], check=True, env=environment)
        return time.perf_counter() - started

    return sample


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    subjects = {"nothing": start("pass")}
    for name, statement in STATEMENTS.items():
        if name == "litellm":
            python, there = str(program(name)), program(name).exists()
        else:
            python, there = sys.executable, importlib.util.find_spec(statement.split()[1]) is not None
        if there:
            subjects[name] = start(statement, python)
        else:
            how_to_get = get_peer(name) if name == "litellm" else "python3 scripts/venv.py bench"
            yield Missing(case=CASE, subject=name, how_to_get=how_to_get)
    samples = alternate(subjects, context.rounds(15, least=5))
    floor = sorted(samples.pop("nothing"))[0]
    for name, seconds in samples.items():
        yield Row(case=CASE, subject=name, unit="ms", samples=[1e3 * max(0.0, s - floor) for s in seconds])


BENCHMARK = Benchmark(
    summary="how long a program waits for `import`",
    run=run,
    targets=[
        Target(case=CASE, subject="three-mode", at_most=150.0),
        Target(case=CASE, subject="three-mode, with every public name", at_most=150.0),
        Target(case=CASE, subject="three-mode, with every public name", peer="httpx", at_most=1.0),
    ],
    notes=(
        "The start of an empty interpreter is taken off each sample. Modules of every subject are compiled already. "
        "Subjects start in turn. httpx brings its command line, with click and rich, where those are installed. "
        "litellm is imported by the Python of an environment of its own."
    ),
)
