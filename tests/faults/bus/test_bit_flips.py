"""Random bit flips in the shared memory of a member while others read it: ring, page, bell, large payloads.

The others go on: no crash, no hang, no message of theirs lost, and they drop the writer whose ring it was, by name.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.bus.sanitized import build_sanitized


def run(seconds: float, seed: int, environment: dict[str, str], folder: Path | None = None) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.bus.flips", str(seconds), str(seed)],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=seconds + 90,
        check=False,
    )
    assert done.returncode == 0, f"seed {seed} ended by {done.returncode}\n{done.stdout[-1000:]}{done.stderr[-3000:]}"
    assert "Sanitizer" not in done.stderr, done.stderr[-3000:]
    seen = json.loads(done.stdout.splitlines()[-1])
    assert set(seen["ended"]) == {0}, f"a member whose own bits were flipped fell: {done.stderr[-3000:]}"
    assert seen["lives"] > 2
    assert seen["honest"] + seen["lost"] == seen["published"]
    assert seen["wrong"] == []
    assert seen["replies"] == seen["published"] // 10
    assert seen["dropped"], "no ring was found broken: the test shows nothing"
    assert all("(flipped)" in where for where in seen["dropped"])
    assert not any(member in where for member in seen["honest_ids"] for where in seen["dropped"])


@pytest.mark.parametrize("seed", [1, 2])
def test_flipped_bits_harm_nobody_else(seed: int) -> None:
    run(2.5, seed, dict(os.environ))


@pytest.mark.soak
@pytest.mark.timeout(300)
def test_flipped_bits_harm_nobody_else_for_a_minute_under_the_sanitizers(tmp_path: Path) -> None:
    environment = build_sanitized(tmp_path)
    for seed in range(10, 14):
        run(15.0, seed, environment, tmp_path)
