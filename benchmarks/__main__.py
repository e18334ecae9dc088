"""`python -m benchmarks` lists the benchmarks; with names, or `all`, runs them."""

import argparse
import importlib.util
import subprocess
import sys
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.status import Status
from rich.table import Table

from benchmarks.harness import registry, store, table
from benchmarks.harness.machine import describe
from benchmarks.harness.model import Context, Missing, Result
from benchmarks.harness.picture import draw

MICRO = "micro"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", help="which to run; `all` for all; nothing lists them"
    )
    parser.add_argument(
        "--quick", action="store_true", help="a tenth of the rounds: a smoke test, not a figure to quote"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the results there ('-' for standard output)"
    )
    parser.add_argument("--picture", type=Path, metavar="FOLDER", help="draw each result there as NAME.svg")
    parser.add_argument("--png", action="store_true", help="PNG instead of SVG")
    parser.add_argument("--compare", type=Path, metavar="FILE", help="an earlier JSON to set beside this run")
    return parser.parse_args()


def catalogue(console: Console) -> None:
    listing = Table(box=None, header_style="dim", pad_edge=False)
    listing.add_column("name", style="bold")
    listing.add_column("what it measures")
    for name in registry.names():
        listing.add_row(name, registry.load(name).summary)
    listing.add_row(MICRO, "one hot function at a time, under pytest-benchmark")
    console.print(listing)
    console.print("\nRun some with `python -m benchmarks NAME...`, or `all`.")


def run_one(name: str, context: Context) -> Result:
    benchmark = registry.load(name)
    result = Result(
        name=name,
        summary=benchmark.summary,
        machine=describe(),
        targets=benchmark.targets,
        notes=benchmark.notes,
    )
    for found in benchmark.run(context):
        if isinstance(found, Missing):
            result.missing.append(found)
        else:
            result.rows.append(found)
    return result


def say(status: Status, name: str, text: str) -> None:
    status.update(f"{name}: {text}")


def run_micro() -> int:
    folder = registry.FOLDER / "micro"
    return subprocess.run(
        [sys.executable, "-m", "pytest", str(folder), "--benchmark-only", "-q"],
        cwd=registry.FOLDER.parent,
        check=False,
    ).returncode


def main() -> int:
    options = arguments()
    to_stdout = str(options.json) == "-"
    console = Console(stderr=to_stdout)
    if not options.names:
        catalogue(console)
        return 0
    known = registry.names()
    wanted = [*known, MICRO] if "all" in options.names else options.names
    unknown = [name for name in wanted if name not in (*known, MICRO)]
    if unknown:
        console.print(f"no benchmark {unknown[0]!r}; there are {', '.join([*known, MICRO])}")
        return 2
    if options.picture and not importlib.util.find_spec("matplotlib"):
        console.print("pictures need matplotlib: `make venv` installs it")
        return 2
    earlier = store.load(options.compare) if options.compare else {}
    results, code = [], 0
    for name in wanted:
        if name == MICRO:
            code = run_micro() or code
            continue
        with console.status(name) as status:
            result = run_one(name, Context(options.quick, partial(say, status, name)))
        results.append(result)
        table.show(console, result, earlier.get(name))
        if options.picture and result.rows:
            draw(result, options.picture / f"{name}.{'png' if options.png else 'svg'}")
    if to_stdout:
        store.save(results, Path("/dev/stdout"))
    elif options.json:
        store.save(results, options.json)
    return code


if __name__ == "__main__":
    sys.exit(main())
