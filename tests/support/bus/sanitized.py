"""The native ring, built with the address and undefined-behaviour sanitizers beside a copy of the package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def build_sanitized(folder: Path) -> dict[str, str]:
    """Into `folder`, from where Python is to be run; the environment for it."""
    compiler = shutil.which("gcc")
    assert compiler, "CI needs gcc"
    for part in ("transports", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for file in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, folder / file)
    include = subprocess.check_output(
        [sys.executable, "-c", "import sysconfig; print(sysconfig.get_path('include'))"], text=True
    ).strip()
    sources = sorted(str(path) for path in (folder / "transports/bus/native").glob("*.c"))
    subprocess.run(
        [
            compiler,
            "-std=c11",
            "-D_GNU_SOURCE",
            "-DPy_LIMITED_API=0x030B0000",
            "-O1",
            "-g",
            "-fPIC",
            "-shared",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-fsanitize=address,undefined",
            "-fno-sanitize-recover=undefined",
            f"-I{include}",
            *sources,
            "-o",
            str(folder / "transports/bus/_ring.abi3.so"),
        ],
        check=True,
    )
    runtime = subprocess.check_output([compiler, "-print-file-name=libasan.so"], text=True).strip()
    return {
        **os.environ,
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(folder),
    }
