"""A web server with several worker processes, as the guide has it: one program owns the agents, the workers join."""

import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.support.serve.endpoint import free_port

ROOT = Path(__file__).resolve().parents[3]
GUIDE = ROOT / "docs" / "agents.md"


def get(url: str) -> str:
    """Return the answer of a server that may be about to start."""
    ends = time.monotonic() + 30.0
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10.0) as answer:
                return str(answer.read().decode())
        except urllib.error.URLError:
            if time.monotonic() > ends:
                raise
            time.sleep(0.05)


def test_workers_of_a_server_reach_the_same_agents(tmp_path: Path) -> None:
    pytest.importorskip("granian", reason="the group `dev` is not installed")
    found = re.search(r"^```py\n(# service\.py\n.*?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    assert found is not None
    (tmp_path / "service.py").write_text(found[1].replace('"greetings"', f'"{tmp_path.name}"'))
    port = free_port()
    server = ["-m", "granian", "--interface", "asgi", "--host", "127.0.0.1", "--port", str(port), "--workers", "2"]
    with subprocess.Popen([sys.executable, "service.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        assert owner.stdout.readline() == "ready\n"
        with subprocess.Popen([sys.executable, *server, "service:app"], cwd=tmp_path) as workers:
            answers = {get(f"http://127.0.0.1:{port}/Ada") for _ in range(32)}
            workers.terminate()
        owner.terminate()
    assert answers <= {f"Hello Ada, says greeter/{number}" for number in range(8)}
    assert len(answers) > 1
