"""Creates `.venv` and installs what a target of the Makefile needs, once.

    python3 scripts/venv.py [GROUP...]     groups: dev (always; it includes docs), bench, train, hf

Runs on the standard library alone. A stamp in `.venv` remembers what was installed, so that a second call takes
milliseconds; it changes with pyproject.toml, setup.py, constraints.txt and the C sources. llama-cpp-python has no
binary wheel on the index: it is compiled here once (about six minutes on two cores), with a progress line, into pip's
cache. Of PyTorch, which `hf` needs, it takes the CPU build alone: the other one is several GB of CUDA.
"""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
AMX_TILES = ROOT / "scripts" / "llama_amx_tiles.h"
INPUTS = ("pyproject.toml", "setup.py", "constraints.txt", "scripts/venv.py", "scripts/llama_amx_tiles.h")
EXTRAS = "cluster,grpc,local,serve"


def fingerprint(group: str) -> str:
    """Returns a digest of all files that decide what a group installs."""
    digest = hashlib.sha256(group.encode())
    native = sorted((ROOT / "transports" / "bus" / "native").glob("*.[ch]"))
    for path in [ROOT / name for name in INPUTS] + native:
        digest.update(path.read_bytes() if path.exists() else b"-")
    return digest.hexdigest()


def run(*command: str) -> None:
    """Runs a command; if it fails, prints all its output and exits."""
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        sys.exit(f"{done.stdout}\nthree-mode: `{' '.join(command)}` failed with {done.returncode}")


def pip(*arguments: str) -> None:
    """Runs pip in the environment."""
    run(str(PYTHON), "-m", "pip", "--disable-pip-version-check", *arguments)


def create() -> None:
    """Creates the environment if it is not there."""
    if sys.version_info < (3, 11):  # noqa: UP036  (an older Python may run this script)
        sys.exit(f"three-mode needs Python 3.11 or later; this is {sys.version.split()[0]}")
    if not PYTHON.exists():
        print("three-mode: creating .venv", flush=True)
        run(sys.executable, "-m", "venv", str(VENV))
        pip("install", "-q", "-c", "constraints.txt", "--upgrade", "pip", "setuptools")


def torch_requirement() -> str:
    """Returns the requirement of PyTorch, as pyproject.toml pins it. On Linux its CPU build has a name of its own."""
    group = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]["hf"]
    pinned = str(next(line for line in group if line.startswith("torch==")))
    return f"{pinned}+cpu" if sys.platform == "linux" else pinned


def install_torch() -> None:
    """Installs PyTorch's CPU build, or says where pip finds it."""
    wanted = torch_requirement()
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "install", "-q", "-c", "constraints.txt"]
    if subprocess.run([*command, wanted], cwd=ROOT, check=False).returncode:
        sys.exit(
            f"three-mode: pip did not install {wanted}. PyTorch has an index of its CPU builds (pytorch.org, "
            "Get Started): set PIP_EXTRA_INDEX_URL to it and call this again"
        )


def llama_requirement() -> str:
    """Returns the requirement of llama-cpp-python, as pyproject.toml pins it."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    return str(next(line for line in extras["local"] if line.startswith("llama-cpp-python")))


def amx_is_broken() -> bool:
    """Returns whether the llama.cpp that is installed crashes on this processor: see scripts/llama_amx_tiles.h."""
    libraries = list(VENV.glob("lib/python3*/site-packages/llama_cpp/lib/libggml-cpu.so"))
    processor = Path("/proc/cpuinfo")
    if not libraries or not processor.exists() or "amx_tile" not in processor.read_text():
        return False
    return b"three_mode_amx_tiles_are_whole" not in libraries[0].read_bytes()


def build_llama() -> None:
    """Builds the llama-cpp-python wheel into pip's cache, with the progress of the compiler. A wheel in the cache that
    crashes on this processor is replaced."""
    install_llama()
    if amx_is_broken():
        remove = [str(PYTHON), "-m", "pip", "cache", "remove", "llama_cpp_python"]
        subprocess.run(remove, capture_output=True, check=False)  # it fails where there is no cache
        install_llama("--force-reinstall")


def install_llama(*options: str) -> None:
    """Installs llama-cpp-python, if it is not there or there are options."""
    wanted = llama_requirement()
    have = subprocess.run(
        [str(PYTHON), "-c", "from importlib.metadata import version; print(version('llama-cpp-python'))"],
        capture_output=True,
        text=True,
        check=False,
    )
    if not options and have.stdout.strip() == wanted.partition("==")[2]:
        return
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        sys.exit("three-mode: a C++ compiler is needed to build llama-cpp-python (Debian: apt-get install g++ cmake)")
    print(
        f"three-mode: {wanted}: from pip's cache, or compiled now (about six minutes on two cores)",
        flush=True,
    )
    started, shown = time.monotonic(), -1
    log = VENV / "llama-build.log"
    command = [
        str(PYTHON),
        "-m",
        "pip",
        "--disable-pip-version-check",
        "install",
        "-v",
        "--no-deps",
        "-c",
        "constraints.txt",
        *options,
        wanted,
    ]
    flags = {name: f'{os.environ.get(name, "")} -include "{AMX_TILES}"' for name in ("CFLAGS", "CXXFLAGS")}
    with (
        log.open("w") as out,
        subprocess.Popen(
            command, cwd=ROOT, env=os.environ | flags, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as build,
    ):
        assert build.stdout is not None
        for line in build.stdout:
            out.write(line)
            step = re.match(r"\s*\[(\d+)/(\d+)\]", line)
            if not step:
                continue
            done, total = int(step[1]), int(step[2])
            percent = 100 * done // max(total, 1)
            if percent != shown and (sys.stdout.isatty() or percent % 10 == 0):
                shown = percent
                bar = "#" * (percent // 4)
                end = "\r" if sys.stdout.isatty() and percent < 100 else "\n"
                took = time.monotonic() - started
                print(f"  llama.cpp [{bar:<25}] {percent:3d}%  {took:4.0f} s", end=end, flush=True)
    if build.returncode:
        tail = "".join(log.read_text().splitlines(keepends=True)[-30:])
        sys.exit(f"{tail}\nthree-mode: llama-cpp-python did not build; the whole log is in {log}")


def install(group: str) -> None:
    """Installs a group unless the environment has it already."""
    stamp = VENV / f".stamp-{group}"
    wanted = fingerprint(group)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    print(f"three-mode: installing what `{group}` needs into .venv", flush=True)
    if group == "dev":
        build_llama()
        pip("install", "-q", "-c", "constraints.txt", "-e", f".[{EXTRAS}]", "--group", "dev")
    else:
        if group == "hf":
            install_torch()
        pip("install", "-q", "-c", "constraints.txt", "--group", group)
    stamp.write_text(wanted)


if __name__ == "__main__":
    os.environ.pop("PYTHONPATH", None)
    create()
    for name in ["dev", *sys.argv[1:]]:
        install(name)
