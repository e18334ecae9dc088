"""Command `python -m benchmarks`: lists the benchmarks, runs those that are named, or all.

`report` writes the figures of a run into the documents.
"""

import argparse
import importlib.util
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.harness import registry, report, shares, store, table
from benchmarks.harness.model import Result
from benchmarks.harness.picture import draw
from benchmarks.harness.runner import run_apart, run_command, run_here
from benchmarks.harness.shares import MICRO


def arguments() -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmarks to run; `all` for all; none: lists them")
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the rounds: a smoke test, not a figure to quote"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there ('-' for standard output)")
    parser.add_argument("--picture", type=Path, metavar="FOLDER", help="draw each result there as NAME.svg")
    parser.add_argument("--png", action="store_true", help="PNG instead of SVG")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="an earlier JSON to compare with")
    return parser.parse_args()


def catalogue(console: Console) -> None:
    """Prints the table of benchmarks."""
    listing = Table(box=None, header_style="dim", pad_edge=False)
    listing.add_column("name", style="bold")
    listing.add_column("what it measures")
    listing.add_column("seconds", justify="right")
    for name in registry.names():
        benchmark = registry.load(name)
        listing.add_row(name, benchmark.summary, f"{shares.share(name):.0f}")
    listing.add_row(MICRO, "one hot function at a time, under pytest-benchmark", f"{shares.share(MICRO):.0f}")
    console.print(listing)
    minutes = sum(shares.SECONDS.values()) / 60
    console.print(f"\nRun some with `python -m benchmarks NAME...`, or `all`, which takes {minutes:.0f} minutes.")
    console.print(f"`python -m benchmarks {report.NAME} [FILE]` writes the figures of a run into the documents.")


def run_micro(quick: bool) -> int:
    """Runs the micro benchmarks; returns the exit code."""
    folder = registry.FOLDER / "micro"
    command = [sys.executable, "-m", "pytest", str(folder), "--benchmark-only", "-q"]
    command += ["--benchmark-max-time=0.05" if quick else "--benchmark-max-time=0.5"]
    return run_command(command, shares.limit(MICRO)) or 0


def run_all(wanted: list[str], options: argparse.Namespace, console: Console) -> tuple[list[Result], int]:
    """Runs benchmarks in turn: a single one in this process, several each in a separate process."""
    results, code = [], 0
    alone = len(wanted) == 1
    earlier = store.load(options.compare) if options.compare else {}
    for number, name in enumerate(wanted, 1):
        if not alone:
            console.rule(f"[dim]{number} of {len(wanted)}: {name}", style="dim", align="left")
        if name == MICRO:
            code = run_micro(options.quick) or code
            continue
        if alone:
            result = run_here(name, console, options.quick)
            table.show(console, result, earlier.get(name))
        else:
            result = run_apart(name, options.quick, options.compare, str(options.json) == "-")
        results.append(result)
        if not result.rows:
            code = 1
        if options.picture and result.rows:
            draw(result, options.picture / f"{name}.{'png' if options.png else 'svg'}")
        if options.json and str(options.json) != "-":
            store.save(results, options.json)  # after each, so that an interrupted run keeps its results
    return results, code


def main() -> int:
    """Runs the command; returns the exit code."""
    options = arguments()
    to_stdout = str(options.json) == "-"
    console = Console(stderr=to_stdout)
    if not options.names:
        catalogue(console)
        return 0
    if options.names[0] == report.NAME:
        return report.main([Path(name) for name in options.names[1:]], console)
    known = registry.names()
    wanted = [*known, MICRO] if "all" in options.names else options.names
    unknown = [name for name in wanted if name not in (*known, MICRO)]
    if unknown:
        console.print(f"no benchmark {unknown[0]!r}; there are {', '.join([*known, MICRO])}")
        return 2
    if options.picture and not importlib.util.find_spec("matplotlib"):
        console.print("pictures need matplotlib: `make venv` installs it")
        return 2
    results, code = run_all(wanted, options, console)
    if to_stdout:
        store.save(results, Path("/dev/stdout"))
    elif len(wanted) > 1:
        table.overview(console, results)
    return code


if __name__ == "__main__":
    sys.exit(main())
