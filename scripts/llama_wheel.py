"""Builds the wheel of llama-cpp-python into `.venv/wheels`, in the background if need be, and shows how far it is.

    python3 scripts/llama_wheel.py [--nice]     what `start` runs; `--nice`: whatever else runs goes first

The index has no binary wheel of it. pip compiles it here, once, and keeps it in its cache; scripts/llama_build.cmake
narrows the build to what the wheel has. One process at a time builds: it holds a lock on `.venv/llama.lock`, and others
wait for it. It runs on the standard library alone.
"""

import fcntl
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
WHEELS, LOG, LOCK = VENV / "wheels", VENV / "llama-build.log", VENV / "llama.lock"
TUNED = ROOT / "scripts" / "llama_build.cmake"
AMX_MARK = b"three_mode_amx_tiles_are_whole"  # of scripts/llama_amx_tiles.h


def requirements() -> list[str]:
    """Returns the requirements of the extra `local`, as pyproject.toml has them; that of llama-cpp-python is pinned."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return [str(line) for line in extras["local"]]


def requirement() -> str:
    """Returns the requirement of llama-cpp-python."""
    return next(line for line in requirements() if line.startswith("llama-cpp-python"))


def installed() -> bool:
    """Whether the environment has the version that is wanted, and one that does not crash on this processor."""
    version = requirement().partition("==")[2]
    libraries = list(VENV.glob("lib/python3*/site-packages/llama_cpp/lib/libggml-cpu.so"))
    there = any(VENV.glob(f"lib/python3*/site-packages/llama_cpp_python-{version}.dist-info"))
    return there and not (has_amx() and any(AMX_MARK not in library.read_bytes() for library in libraries))


def has_amx() -> bool:
    """Whether this processor has AMX, which a library from elsewhere may crash on: see scripts/llama_amx_tiles.h."""
    processor = Path("/proc/cpuinfo")
    return processor.exists() and "amx_tile" in processor.read_text()


def wheel(folder: Path | None = None) -> Path | None:
    """The wheel that was built, in `WHEELS` or another folder; None where there is none that can be used here."""
    version = requirement().partition("==")[2]
    for path in (folder or WHEELS).glob(f"llama_cpp_python-{version}-*.whl"):
        if not has_amx() or _is_marked(path):
            return path
    return None


def _is_marked(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        libraries = [name for name in archive.namelist() if name.endswith("libggml-cpu.so")]
        return all(AMX_MARK in archive.read(name) for name in libraries)


def build_environment() -> dict[str, str]:
    """Environment of a build: CMake includes our file, and a ccache that is there finds what it has kept."""
    include = shlex.quote(f"-DCMAKE_PROJECT_llama.cpp_INCLUDE={TUNED}")
    made = os.environ | {"CMAKE_ARGS": f"{os.environ.get('CMAKE_ARGS', '')} {include}".strip()}
    if shutil.which("ccache"):  # llama.cpp's own build uses it; pip builds in another folder each time
        kept = {"CCACHE_BASEDIR": tempfile.gettempdir(), "CCACHE_NOHASHDIR": "1"}
        made = kept | {"CCACHE_SLOPPINESS": "pch_defines,time_macros,include_file_mtime,include_file_ctime"} | made
    return made


def build(out: Path = WHEELS, *options: str) -> int:
    """Has pip build the wheel, or take it from its cache; what it says goes to the log. Returns its exit code."""
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "wheel", "-v", "--no-deps"]
    command += ["-c", "constraints.txt", "-w", str(out), *options, requirement()]
    with LOG.open("w") as log:
        done = subprocess.run(command, cwd=ROOT, env=build_environment(), stdout=log, stderr=log, check=False)
    return done.returncode


def build_once() -> int:
    """Builds the wheel unless it is there, or another process is at it. One from pip's cache that crashes on this
    processor is replaced."""
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return 0
        if wheel():
            return 0
        code = build()
        if code == 0 and not wheel():
            shutil.rmtree(WHEELS)
            code = build(WHEELS, "--no-cache-dir")
        return code


def start(*options: str) -> "subprocess.Popen[bytes] | None":
    """Begins to build in the background; None where nothing is to be built."""
    if installed() or wheel():
        return None
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        sys.exit("three-mode: a C++ compiler is needed to build llama-cpp-python (Debian: apt-get install g++ cmake)")
    print(f"three-mode: {requirement()}: from pip's cache, or compiled (up to five minutes on two cores)", flush=True)
    return subprocess.Popen([sys.executable, str(Path(__file__).resolve()), *options])


def finish(builder: "subprocess.Popen[bytes] | None") -> None:
    """Waits for the wheel, with the progress of the compiler; exits with the end of the log if it was not built."""
    if builder is not None:
        _follow(builder)
    if not installed() and not wheel():
        tail = "".join(LOG.read_text().splitlines(keepends=True)[-30:]) if LOG.exists() else ""
        sys.exit(f"{tail}\nthree-mode: llama-cpp-python did not build; the whole log is in {LOG}")


def _follow(builder: "subprocess.Popen[bytes]") -> None:
    started, shown = time.monotonic(), -1
    while builder.poll() is None or _locked():
        steps = (
            re.findall(r"^\s*\[(\d+)/(\d+)\]", LOG.read_text(errors="replace"), re.MULTILINE) if LOG.exists() else []
        )
        if steps:
            done, total = map(int, steps[-1])
            percent = 100 * done // max(total, 1)
            if percent != shown and (sys.stdout.isatty() or percent // 10 != shown // 10):
                shown = percent
                took = time.monotonic() - started
                end = "\r" if sys.stdout.isatty() and percent < 100 else "\n"
                print(f"  llama.cpp [{'#' * (percent // 4):<25}] {percent:3d}%  {took:4.0f} s", end=end, flush=True)
        time.sleep(0.2)


def _locked() -> bool:
    """Whether a process builds."""
    with LOCK.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


if __name__ == "__main__":
    if "--nice" in sys.argv:
        os.nice(10)
    sys.exit(build_once())
