"""The scan for secrets finds one, so that its silence means something."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_a_planted_key_is_found(tmp_path: Path) -> None:
    hook = Path(sys.executable).with_name("detect-secrets-hook")
    planted = tmp_path / "settings.py"
    planted.write_text('aws = "AKIA' + "Z7QK3M5N2P4R6T8V" + '"\n')
    done = subprocess.run(
        [str(hook), "--baseline", str(ROOT / ".secrets.baseline"), str(planted)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 1
    assert "AWS" in done.stdout
