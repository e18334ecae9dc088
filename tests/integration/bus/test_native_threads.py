"""The native part on two threads at once, under the thread sanitizer: nothing is shared by mistake, and a record that a
reader accepts is whole."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bus.sanitized import build, build_for_threads, copy_sources, fixed_addresses

C = Path(__file__).resolve().parents[2] / "support" / "bus" / "two_threads.c"
STORE = "atomic_store_explicit(&self->ring->tail, end, memory_order_release);"
WORD = "static uint64_t word("
CHECK = "if (passed(r, r->position)) return 1;"
RUNS = 20  # a machine that is busy may run the two threads in turn
THREADED = ("tests/unit/bus/test_ring_native.py", "tests/unit/bus/test_ring_publish.py")


def sources(folder: Path, **changes: tuple[str, str]) -> list[Path]:
    """The C of the ring with the two threads in it; in some files a line is another. The thread sanitizer does not look
    at how headers are read, which is checked afterwards: it knows no fences, by which that is ordered."""
    native = copy_sources(folder)
    threads = native / C.name
    threads.write_text(C.read_text())
    changes = {"drain": (WORD, f'__attribute__((no_sanitize("thread"))) {WORD}'), **changes}
    for name, (line, other) in changes.items():
        path = native / f"{name}.c"
        assert line in path.read_text()
        path.write_text(path.read_text().replace(line, other))
    inside = ("writer.c", "drain.c")  # of the two threads' file
    return [path for path in sorted(native.glob("*.c")) if path.name not in inside]


def run(folder: Path, environment: dict[str, str], records: int, capacity: int) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tests.support.bus.two_threads", str(records), str(capacity)]
    return subprocess.run(
        [*fixed_addresses(), *command],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def check_seen(said: str, records: int) -> None:
    seen = json.loads(said)
    assert (seen["torn"], seen["broken"]) == (0, 0)
    assert seen["taken"] + seen["missed"] == records
    assert seen["taken"] > 0


def both(folder: Path, records: int) -> None:
    """On a ring that laps its reader all the time, and on one that holds what it is behind."""
    made = sources(folder)
    build(folder, "-O2", sources=made)
    plain = {**os.environ, "PYTHONPATH": str(folder)}
    for capacity in (4096, 1 << 20):
        done = run(folder, plain, 20 * records, capacity)
        assert done.returncode == 0, done.stderr
        check_seen(done.stdout, 20 * records)
    threads = build_for_threads(folder, sources=made)
    for capacity in (4096, 1 << 20):
        done = run(folder, threads, records, capacity)
        assert done.returncode == 0, done.stderr[-4000:]
        assert "WARNING: ThreadSanitizer" not in done.stderr
        check_seen(done.stdout, records)


def test_a_record_is_whole_and_nothing_else_is_shared(tmp_path: Path) -> None:
    both(tmp_path, 20_000)


def test_a_tail_that_is_stored_like_any_number_is_found(tmp_path: Path) -> None:
    made = sources(tmp_path, writer=(STORE, "*(uint64_t *)&self->ring->tail = end;"))
    done = run(tmp_path, build_for_threads(tmp_path, sources=made), 5_000, 4096)
    assert done.returncode == 66, done.stderr[-2000:]
    assert "data race" in done.stderr


def test_a_copy_that_is_not_checked_is_found_torn(tmp_path: Path) -> None:
    made = sources(tmp_path, two_threads=(CHECK, ""))
    build(tmp_path, "-O2", sources=made)
    plain = {**os.environ, "PYTHONPATH": str(tmp_path)}
    runs = (json.loads(run(tmp_path, plain, 3_000_000, 4096).stdout) for _ in range(RUNS))
    assert any(seen["torn"] for seen in runs)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_a_record_is_whole_for_long(tmp_path: Path) -> None:
    both(tmp_path, 2_000_000)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_the_rings_own_tests_under_the_thread_sanitizer(tmp_path: Path) -> None:
    copy_sources(tmp_path)
    environment = build_for_threads(tmp_path)
    done = subprocess.run(
        [*fixed_addresses(), sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *THREADED],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert "WARNING: ThreadSanitizer" not in done.stderr
