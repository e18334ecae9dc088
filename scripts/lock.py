"""Writes constraints.txt: one exact version of each package that an extra or a group of pyproject.toml needs.

A constraints file rather than a lock of hashes: pip reads it for every install, of any part.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Exact versions of all that the extras and groups of pyproject.toml need. Made by `make lock`.\n"

if __name__ == "__main__":
    python = str(ROOT / ".venv" / "bin" / "python")
    subprocess.run([python, "-m", "pip", "install", "-q", "--group", "lock"], cwd=ROOT, check=True)
    done = subprocess.run(
        [
            python,
            "-m",
            "uv",
            "pip",
            "compile",
            "pyproject.toml",
            "--all-extras",
            "--group",
            "dev",
            "--group",
            "docs",
            "--group",
            "bench",
            "--group",
            "train",
            "--group",
            "hf",
            "--group",
            "fuzz",
            "--group",
            "lock",
            "--universal",
            "--python-version",
            "3.11",
            "--no-header",
            "--no-annotate",
            "--no-emit-index-url",
            "-q",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    (ROOT / "constraints.txt").write_text(HEADER + done.stdout)
    print(f"constraints.txt: {len(done.stdout.splitlines())} packages")
