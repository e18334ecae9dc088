"""A file of conversations that several processes make in one moment is one file, and whole."""

import subprocess
import sys
from pathlib import Path

OPEN_AT_ONCE = """
import multiprocessing, sys, time
from pathlib import Path
from three_mode.conversations.schema import open_file

def run(path, at, said):
    while time.time() < at:
        pass
    try:
        open_file(path, 10.0, False).close()
        said.put("")
    except Exception as error:
        said.put(repr(error))

fork = multiprocessing.get_context("fork")
for number in range(40):
    said, at = fork.Queue(), time.time() + 0.03
    path = Path(sys.argv[1]) / f"{number}.db"
    processes = [fork.Process(target=run, args=(path, at, said)) for _ in range(3)]
    for process in processes:
        process.start()
    print(*[said.get() for _ in processes], end="")
    for process in processes:
        process.join()
"""


def test_processes_that_make_a_file_at_once_share_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", OPEN_AT_ONCE, str(tmp_path)], capture_output=True, text=True, check=False, timeout=100
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
