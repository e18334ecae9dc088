"""The native ring, built with sanitizers beside a copy of the package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
MOST_RANDOM = 28  # bits of addresses that are chosen by chance, with which gcc's thread sanitizer finds its memory


def copy_sources(folder: Path) -> Path:
    """What the ring is built of and runs in, into `folder`; returns the folder of the C."""
    for part in ("transports", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    for file in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, folder / file)
    return folder / "transports" / "bus" / "native"


def build(folder: Path, *flags: str, sources: list[Path] | None = None) -> Path:
    """Compile the ring in `folder` with these flags; of `sources`, in place of its own."""
    compiler = shutil.which("gcc")
    assert compiler, "CI needs gcc"
    include = subprocess.check_output(
        [sys.executable, "-c", "import sysconfig; print(sysconfig.get_path('include'))"], text=True
    ).strip()
    native = folder / "transports" / "bus" / "native"
    made = folder / "transports" / "bus" / "_ring.abi3.so"
    subprocess.run(
        [
            compiler,
            "-std=c11",
            "-D_GNU_SOURCE",
            "-DPy_LIMITED_API=0x030B0000",
            "-g",
            "-fPIC",
            "-shared",
            "-Wall",
            "-Wextra",
            "-Werror",
            *flags,
            f"-I{include}",
            f"-I{native}",
            *map(str, sources or sorted(native.glob("*.c"))),
            "-o",
            str(made),
        ],
        check=True,
    )
    return made


def build_sanitized(folder: Path) -> dict[str, str]:
    """With the address and undefined-behaviour sanitizers, into `folder`, from where Python is to be run; the
    environment for it."""
    copy_sources(folder)
    build(folder, "-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=undefined")
    return {
        **os.environ,
        "LD_PRELOAD": runtime("libasan.so"),
        "ASAN_OPTIONS": "detect_leaks=0",
        "PYTHONMALLOC": "malloc",
        "PYTHONPATH": str(folder),
    }


def build_for_threads(folder: Path, *flags: str, sources: list[Path] | None = None) -> dict[str, str]:
    """The same with the thread sanitizer."""
    build(folder, "-O1", "-fsanitize=thread", "-Wno-tsan", *flags, sources=sources)
    return {
        **os.environ,
        "LD_PRELOAD": runtime("libtsan.so"),
        "TSAN_OPTIONS": "ignore_noninstrumented_modules=1:exitcode=66",
        "PYTHONPATH": str(folder),
    }


def fixed_addresses() -> list[str]:
    """What stands before a command of the thread sanitizer, where the kernel chooses addresses too freely for it."""
    bits = Path("/proc/sys/vm/mmap_rnd_bits")
    free = bits.exists() and int(bits.read_text()) > MOST_RANDOM
    return ["setarch", "-R"] if free else []


def runtime(library: str) -> str:
    """Path of a sanitizer's library, which is loaded before all others."""
    return subprocess.check_output(["gcc", f"-print-file-name={library}"], text=True).strip()
