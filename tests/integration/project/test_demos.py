"""Each demo runs as it stands, says what happened, and ends by itself."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agents_demo.__main__ import summaries

SAYS = {
    "broadcast_512": "512 seen, 0 lagging, 0 lost, 0 dead",
    "coda_demo": "events of the first answer: conversation_created",
    "crash": "is back with 32 agents",
    "debate": "ended it after 8 turns",
    "five_hundred": "until all answer again",
    "memory": "0 memories of alice, 1 of bob",
    "mrc_examples": "6 examples ran",
    "one_request": "refused before it is sent",
    "pipeline": "over 16 counters",
    "quorum": "48 were not waited for",
    "replay": "went otherwise: nothing",
    "streamed_reply": "True",
    "swarm_vote": "agree",
    "three_modes": "none hung",
    "tools": "refused: the vault stays closed",
    "two_machines": "64 callers got PeerLost",
}


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[3]
    return subprocess.run(
        [sys.executable, "-m", "agents_demo", *words],
        check=False,
        capture_output=True,
        text=True,
        timeout=90,
        cwd=folder,
        env={**os.environ, "COLUMNS": "200", "PYTHONPATH": str(root)},
    )


def test_every_demo_is_listed_and_run_here(tmp_path: Path) -> None:
    listed = run(tmp_path).stdout
    assert set(summaries()) == set(SAYS)
    assert all(name in listed for name in SAYS)
    assert run(tmp_path, "nothing").returncode == 2


@pytest.mark.parametrize("name", SAYS)
def test_a_demo_runs_as_it_stands(name: str, tmp_path: Path) -> None:
    done = run(tmp_path, name)
    assert (done.returncode, done.stderr) == (0, "")
    assert SAYS[name] in done.stdout
