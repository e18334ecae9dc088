"""Runner: runs one benchmark in this process, or each in a separate one, so that none inherits another's heap."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.status import Status

from benchmarks.harness import registry, shares, store, timing
from benchmarks.harness.machine import describe
from benchmarks.harness.model import Context, Missing, Result, Row
from benchmarks.harness.pace import pace


def run_here(name: str, console: Console, quick: bool) -> Result:
    """Runs a benchmark in this process."""
    benchmark = registry.load(name)
    result = Result(
        name=name,
        summary=benchmark.summary,
        machine=describe(),
        targets=benchmark.targets,
        notes=benchmark.notes,
    )
    started = time.monotonic()
    with console.status(name) as status, timing.within(shares.share(name)) as budget:
        for found in benchmark.run(Context(quick, partial(_show_progress, console, status, name))):
            if isinstance(found, Missing):
                result.missing.append(found)
            else:
                result.rows.append(_note_cut_rounds(found, budget))
        if budget.beats:
            result.machine["pace_us"] = pace(budget.beats)
    result.seconds = round(time.monotonic() - started, 1)
    return result


def _note_cut_rounds(row: Row, budget: timing.Budget) -> Row:
    if len(row.samples) not in budget.cut_to:
        return row
    note = f"{len(row.samples)} rounds, since its time was over"
    return replace(row, note=f"{row.note}; {note}" if row.note else note)


def _show_progress(console: Console, status: Status, name: str, text: str) -> None:
    if console.is_terminal:
        status.update(f"{name}: {text}")
    else:
        console.print(f"{name}: {text}", style="dim", highlight=False)


def run_apart(name: str, quick: bool, compare: Path | None = None, aside: bool = False) -> Result:
    """Runs a benchmark in a process that shares this terminal.

    A process that takes far too long is stopped, and the result names it as missing. With `aside` its output goes to
    standard error, because standard output is for data.
    """
    with TemporaryDirectory() as folder:
        out = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks", name, "--json", str(out)]
        command += ["--quick"] if quick else []
        command += ["--compare", str(compare)] if compare else []
        limit = shares.limit(name)
        code = run_command(command, limit, aside)
        if out.exists():
            return store.load(out)[name]
    benchmark = registry.load(name)
    why = f"stopped after {limit:.0f} s" if code is None else f"ended with {code}"
    gap = Missing(case="all of it", subject=name, how_to_get=f"{why}; `python -m benchmarks {name}` runs it alone")
    return Result(
        name=name,
        summary=benchmark.summary,
        machine=describe(),
        missing=[gap],
        targets=benchmark.targets,
        notes=benchmark.notes,
    )


def run_command(command: list[str], limit: float, aside: bool = False) -> int | None:
    """Runs a command and returns its exit code; None if it was stopped after `limit` seconds, with all it started."""
    process = subprocess.Popen(
        command, cwd=registry.FOLDER.parent, start_new_session=True, stdout=sys.stderr if aside else None
    )
    code: int | None = None
    try:
        code = process.wait(limit)
    except subprocess.TimeoutExpired:
        pass
    finally:
        if code is None:
            _end(process)
    return code


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Ends a process group: first with a chance to clean up, then by force."""
    os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        pass
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()
