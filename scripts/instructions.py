"""Counts the instructions of one iteration of each hot path, with valgrind's callgrind.

    python scripts/instructions.py                      the tree that this file is in, all paths, as a table
    python scripts/instructions.py --tree DIR NAME...   another tree's packages, some paths
    python scripts/instructions.py --json FILE          also writes FILE, for a later run with --before FILE

A path (see hot_paths.py) runs in a process under valgrind; where agents take part, the host that they live in is under
valgrind too, and counted apart. Blocks of n and of 2n iterations run in turn, each between two marks, and an iteration
costs the difference of the two divided by n: what a block costs once (the marks, a stream's beginning) drops out. Of
the blocks of either size the one at the lower quartile is taken, since a heartbeat or a wake-up in a block only adds
to it; the spread is the distance between the results of the even and of the odd blocks. Counted are the interpreter
and all libraries, in all threads of the process; the kernel is not.

Two things are left out. Looking for a message before going to sleep (`bus_look`) takes as many instructions as there
is time, and valgrind has its own; decoding (`llama_decode`) is llama.cpp's. What remains differs by about one percent
from run to run where two processes meet, since one of them may find the other's message before or after it goes to
sleep, and by far less within a single process. The provider of the HTTP/2 paths is a process of its own that is not
counted.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
CHILD = HERE / "hot_paths.py"
LEFT_OUT = ("bus_look", "llama_context::decode(llama_batch const&)")  # the latter is all that llama_decode does
MARK = """
#include <valgrind/callgrind.h>
void mark(void) {
    CALLGRIND_START_INSTRUMENTATION; /* from the first mark on: what comes before runs much faster without */
    CALLGRIND_DUMP_STATS;
}
"""
WITHIN = 900.0  # seconds for one path
STAND_IN = """
# Before valgrind 3.21 there is no pidfd under it. A pipe also becomes readable when its process ends.
import os
import threading

def pidfd_open(pid, flags=0):
    end, other = os.pipe()
    if pid != os.getpid():
        def wait():
            try:
                os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            except ChildProcessError:
                pass  # reaped elsewhere
            os.close(other)
        threading.Thread(target=wait, daemon=True).start()
    return end

os.pidfd_open = pidfd_open
"""


@dataclass(frozen=True)
class Measured:
    """One path that is counted."""

    name: str  #: name in hot_paths.py
    n: int  #: iterations of the smaller block
    what: str  #: description of one iteration
    provider: bool = False  #: whether it needs a scripted provider


PATHS = (
    Measured("bus_broadcast", 50, "bus: publish to 8 handlers of another member, both in one process"),
    Measured("bus_ask", 50, "bus: ask another member, both in one process"),
    Measured("agent_ask", 40, "ask an agent in a host process"),
    Measured("llm_to_agent", 40, "LLMRequest to agent:NAME in a host process"),
    Measured("broadcast_512", 10, "broadcast to 512 plain handlers, with the answer that all have run: the host"),
    Measured("llm_http2", 20, "chat_completion over TLS and HTTP/2", provider=True),
    Measured("stream_event", 50, "one event of a stream over TLS and HTTP/2", provider=True),
    Measured("local_token", 12, "one token of a local model, without llama_decode"),
)


@dataclass(frozen=True)
class Counted:
    """Instructions of one iteration in one process."""

    path: str
    process: str
    instructions: float
    spread: float
    """Difference between the even and the odd blocks, as a share of all."""


# --- running ---
def environment(*path: Path) -> dict[str, str]:
    """Nothing by chance: the packages of these folders, one order of every set, no io_uring (unknown to valgrind)."""
    fixed = {"PYTHONPATH": os.pathsep.join(map(str, path)), "PYTHONHASHSEED": "0", "UV_USE_IO_URING": "0"}
    return os.environ | fixed


@contextmanager
def provider(tree: Path) -> Iterator[str]:
    """Runs a scripted provider in a separate process; yields its URL."""
    command = [sys.executable, str(CHILD), "provider"]
    with subprocess.Popen(
        command, env=environment(tree), cwd=tree, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.stdin.close()


def build_mark(folder: Path) -> Path:
    """Compiles a library whose `mark` makes callgrind write its count since the last mark, and start again at zero."""
    source, library = folder / "mark.c", folder / "mark.so"
    source.write_text(MARK)
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", str(source), "-o", str(library)], check=True)
    return library


def run(path: Measured, tree: Path, pairs: int, folder: Path, url: str = "") -> list[Counted]:
    """Counts one path, in each of its processes."""
    command = [
        "valgrind",
        "--tool=callgrind",
        "--trace-children=yes",
        "--instr-atstart=no",
        "--compress-strings=no",
        f"--callgrind-out-file={folder}/%p",
        f"--log-file={folder}/log.%p",
        sys.executable,
        str(CHILD),
        "count",
        path.name,
        str(path.n),
        str(pairs),
        url,
    ]
    (folder / "sitecustomize.py").write_text(STAND_IN)
    env = environment(folder, tree) | {"HOT_PATHS_MARK": str(build_mark(folder))}
    done = subprocess.run(command, env=env, cwd=tree, capture_output=True, text=True, timeout=WITHIN, check=False)
    if done.returncode:
        raise RuntimeError(f"{path.name} failed with {done.returncode}\n{done.stdout}{done.stderr}")
    pids = json.loads(done.stdout.splitlines()[-1])
    return [counted(path, process, blocks(folder, pid)) for process, pid in pids.items()]


def blocks(folder: Path, pid: int) -> list[int]:
    """Counts of a process between the first and the second mark, the third and the fourth, and so on."""
    dumps = sorted(folder.glob(f"{pid}.*"), key=lambda file: int(file.suffix[1:]))
    if not dumps:
        raise RuntimeError(f"callgrind wrote nothing about process {pid}")
    return [total(dump) for dump in dumps][1::2]


def total(dump: Path) -> int:
    """Instructions of a dump, without the functions left out and their callees."""
    count, left_out, is_call, called = 0, 0, False, ""
    with dump.open() as lines:
        for line in lines:
            if line.startswith("cfn="):
                called = line[4:].rstrip()
            elif line.startswith("calls="):
                is_call = True
            elif is_call:
                is_call = False  # this line has the inclusive cost of the call
                left_out += int(line.split()[1]) if called in LEFT_OUT else 0
            elif line.startswith(("summary:", "totals:")):
                count = int(line.split()[1])
    return count - left_out


def counted(path: Measured, process: str, found: list[int]) -> Counted:
    """Result of a path in one process, from its blocks."""
    single, double = found[::2], found[1::2]
    whole, some, others = (each(path.n, single[at::step], double[at::step]) for at, step in ((0, 1), (0, 2), (1, 2)))
    return Counted(path.name, process, round(whole, 1), round(abs(some - others) / whole, 4))


def each(n: int, single: list[int], double: list[int]) -> float:
    """Instructions of an iteration, from the lower quartiles: a heartbeat or a wake-up in a block only adds to it."""
    return (sorted(double)[len(double) // 4] - sorted(single)[len(single) // 4]) / n


# --- showing ---
def table(found: list[Counted], before: dict[tuple[str, str], float]) -> str:
    """Results as text, beside those of an earlier run."""
    what = {path.name: path.what for path in PATHS}
    lines = [f"{'path':14} {'process':7} {'instructions':>12} {'spread':>7} {'before':>12} {'ratio':>6}  iteration"]
    for row in found:
        earlier = before.get((row.path, row.process))
        beside = f"{earlier:12,.0f} {row.instructions / earlier:6.3f}" if earlier else f"{'':12} {'':6}"
        figures = f"{row.instructions:12,.0f} {100 * row.spread:6.2f}% {beside}"
        lines.append(f"{row.path:14} {row.process:7} {figures}  {what[row.path]}")
    return "\n".join(lines)


def read_before(file: Path | None) -> dict[tuple[str, str], float]:
    """Reads the file of an earlier run."""
    if file is None:
        return {}
    rows = json.loads(file.read_text())["paths"]
    return {(row["path"], row["process"]): row["instructions"] for row in rows}


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(description="Counts the instructions of the hot paths.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(path.name for path in PATHS))
    parser.add_argument("--tree", type=Path, default=HERE.parent, help="tree whose packages are counted")
    parser.add_argument("--pairs", type=int, default=16, help="pairs of blocks for each path")
    parser.add_argument("--json", type=Path, help="file to write the result to")
    parser.add_argument("--before", type=Path, help="file of an earlier run to compare with")
    given = parser.parse_args()
    if shutil.which("valgrind") is None:
        sys.exit("valgrind is needed (Debian: apt-get install valgrind)")
    unknown = set(given.names) - {path.name for path in PATHS}
    if unknown:
        sys.exit(f"no such path: {', '.join(sorted(unknown))}")
    tree = given.tree.resolve()
    found: list[Counted] = []
    for path in PATHS:
        if given.names and path.name not in given.names:
            continue
        print(f"counting {path.name}", file=sys.stderr, flush=True)
        with tempfile.TemporaryDirectory() as folder:
            if path.provider:
                with provider(tree) as url:
                    found += run(path, tree, given.pairs, Path(folder), url)
            else:
                found += run(path, tree, given.pairs, Path(folder))
    print(table(found, read_before(given.before)))
    if given.json is not None:
        rows = [asdict(row) for row in found]
        given.json.write_text(json.dumps({"tool": "callgrind", "paths": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
