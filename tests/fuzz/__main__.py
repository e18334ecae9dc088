"""Fuzz some targets, or all; with `--replay`, run what is in the corpus once.

    python -m tests.fuzz sse ndjson --seconds 60
    python -m tests.fuzz --json results/fuzz.json

An input that was wrong is a file in `build/fuzz`. Once the fault is mended, it belongs into the corpus of its target:
`tests/fuzz/corpus/TARGET/found-WHAT`.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.fuzz.corpus import inputs
from tests.fuzz.engine import NATIVE, FuzzOptions, FuzzOutcome, build_native, fuzz
from tests.fuzz.target import checked
from tests.fuzz.targets import TARGETS


def main() -> int:
    """Return 1 where something was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Fuzz what reads bytes of others.")
    parser.add_argument(
        "targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all where none is named"
    )
    parser.add_argument("--seconds", type=int, default=60, help="for each target (default 60)")
    parser.add_argument("--json", type=Path, help="a file for the outcomes")
    parser.add_argument("--replay", action="store_true", help="run the corpus once, and look for nothing new")
    given = parser.parse_args()
    unknown = [name for name in given.targets if name not in TARGETS]
    if unknown:
        parser.error(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
    targets = given.targets or list(TARGETS)
    if given.replay:
        return replay(targets)
    outcomes = run(targets, given.seconds)
    if given.json is not None:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_bytes(msgspec.json.format(msgspec.json.encode(outcomes)))
    return int(not all(outcome.clean for outcome in outcomes))


def replay(targets: list[str]) -> int:
    """Every input of the corpus, each held against the bounds of its target."""
    count, started = 0, time.monotonic()
    for target in targets:
        for _, data in inputs(target):
            checked(TARGETS[target], data)
            count += 1
    print(f"{count} inputs of {len(targets)} targets in {time.monotonic() - started:.1f} s")
    return 0


def run(targets: list[str], seconds: int) -> list[FuzzOutcome]:
    """Fuzz targets one after another, and show how far each is."""
    outcomes: list[FuzzOutcome] = []
    console = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(
            TextColumn("{task.description:20}"),
            BarColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[said]}"),
            console=console,
        ) as shown,
    ):
        native = build_native(Path(folder)) if NATIVE & set(targets) else {}
        for target in targets:
            bar = shown.add_task(target, total=seconds, said="")
            started = time.monotonic()

            def told(_: str, executions: int, bar: object = bar, started: float = started) -> None:
                shown.update(bar, completed=time.monotonic() - started, said=f"{executions:,} inputs")  # type: ignore[arg-type]

            outcome = fuzz(target, FuzzOptions(seconds=seconds, progress=told), native)
            outcomes.append(outcome)
            verdict = "clean" if outcome.clean else f"FOUND {outcome.finding or 'something'}"
            said = f"{outcome.executions:,} inputs, {outcome.covered:,} places, {verdict}"
            shown.update(bar, completed=seconds, said=said)
            if not outcome.clean:
                console.print(outcome.said, markup=False, highlight=False)
            print(f"{target}: {said}", flush=True)
    return outcomes


if __name__ == "__main__":
    sys.exit(main())
