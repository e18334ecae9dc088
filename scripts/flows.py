"""Shows the files that each of the four flows visits, in order, and how often.

    python scripts/flows.py                     the tree that this file is in, as tables
    python scripts/flows.py --tree DIR NAME...  another tree's packages, some flows
    python scripts/flows.py --json FILE         also writes FILE

The flows are a broadcast from `orc.broadcast` to a plain handler (`broadcast`), a model call over HTTP/2 and back
(`http2`), a token from `llama_decode` to the reader of its stream (`token`), and an ask from an agent to an agent in
another host process (`ask`). Each runs warm, several times, and what most of the runs did is shown: in some a timer of
the bus fires meanwhile.

What is counted are calls of Python functions (`sys.setprofile`) in files of three_mode, transports and local_models,
but for three_mode/testing, which is the other end of the HTTP/2 call:

- An *entry* is a call into a file from another file: from a function there, directly or through the standard library
  or C, or from the event loop. The return of a call is none, nor is a coroutine that goes on after it waited, since
  that is a return.
- A *visit* is a run of entries into one file with no other file's between them. A file that is entered, left for
  another and entered again has been visited twice; a reader has to open it twice.
- A *leaf* is a visit from which no other file was entered: a helper, an error, a value being made. The rest are
  *journeys*: places that a reader has to go through to get on.

Where two processes or threads take part their entries are put one after another as the message goes: the sender until
it waits, the receiver with all it does about the message, then the sender again. A token ends the engine's part: what
the engine does for the next one is not of this flow.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).resolve().parent
RUNS = HERE / "flow_runs.py"
NAMES = ("broadcast", "http2", "token", "ask")


class Entry(NamedTuple):
    """A call into a file from another one, as `flow_runs.py` prints it."""

    at: int
    file: str
    function: str
    caller: str


def run(name: str, tree: str) -> list[list[Entry]]:
    """Runs a flow; returns the entries of each run."""
    env = os.environ | {"FLOWS_TREE": tree, "PYTHONPATH": tree}
    with tempfile.TemporaryFile("w+") as out:
        subprocess.run([sys.executable, str(RUNS), name], env=env, cwd=tree, stdout=out, check=True)
        out.seek(0)
        return [[Entry(*entry) for entry in entries] for entries in json.load(out)]


@dataclass
class Visit:
    """A run of entries into one file."""

    file: str
    functions: list[str]
    leaf: bool = True


def visits(entries: list[Entry]) -> list[Visit]:
    """Groups entries into visits."""
    found: list[Visit] = []
    last: dict[str, Visit] = {}
    for entry in entries:
        if entry.caller in last:
            last[entry.caller].leaf = False
        if not found or found[-1].file != entry.file:
            found.append(Visit(entry.file, []))
            last[entry.file] = found[-1]
        found[-1].functions.append(entry.function)
    return found


def usual(runs: list[list[Entry]]) -> list[Entry]:
    """Most frequent run; of two equally frequent runs, the shorter one."""
    shapes = Counter(tuple((entry.file, entry.function) for entry in run) for run in runs)
    chosen = max(shapes, key=lambda shape: (shapes[shape], -len(shape)))
    return next(run for run in runs if tuple((entry.file, entry.function) for entry in run) == chosen)


def summary(name: str, runs: list[list[Entry]]) -> dict[str, Any]:
    """Figures of a flow."""
    path = visits(usual(runs))
    times, journeys = Counter(visit.file for visit in path), Counter(visit.file for visit in path if not visit.leaf)
    return {
        "flow": name,
        "files": len(times),
        "visits": len(path),
        "journeys": journeys.total(),
        "most_visits": max(times.values()),
        "by_file": [{"file": file, "visits": times[file], "journeys": journeys[file]} for file in times],
        "way": [asdict(visit) for visit in path],
    }


def table(flows: list[dict[str, Any]]) -> str:
    """Figures of all flows as text."""
    lines = [f"{'flow':10} {'files':>5} {'visits':>6} {'journeys':>8} {'most of one file':>16}"]
    for flow in flows:
        figures = f"{flow['files']:5} {flow['visits']:6} {flow['journeys']:8} {flow['most_visits']:16}"
        lines.append(f"{flow['flow']:10} {figures}")
    for flow in flows:
        lines += ["", f"{flow['flow']}: files in the order of their first visit", " visits journeys"]
        lines += [f"{row['visits']:7} {row['journeys']:8}  {row['file']}" for row in flow["by_file"]]
        lines += ["", f"{flow['flow']}: the way (leaves indented)"]
        for visit in flow["way"]:
            lines.append(f"  {'    ' * visit['leaf']}{visit['file']}: {', '.join(dict.fromkeys(visit['functions']))}")
    return "\n".join(lines)


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description="Shows which files the four flows visit.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--tree", type=Path, default=HERE.parent, help="whose packages are shown")
    parser.add_argument("--json", type=Path, help="a file for the result")
    given = parser.parse_args()
    flows = []
    for name in given.names or NAMES:
        runs = run(name, str(given.tree.resolve()))
        flows.append(summary(name, runs))
    print(table(flows))
    if given.json is not None:
        given.json.write_text(json.dumps(flows, indent=2) + "\n")


if __name__ == "__main__":
    main()
