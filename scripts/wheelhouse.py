"""Builds `dist/wheelhouse`: wheels of three-mode and of all that it needs, for machines like this one.

    python3 scripts/wheelhouse.py [--portable] [--out FOLDER] [EXTRA...]     extras: local, serve, cluster, grpc, otel,
                                                                             prices; all of them where none is named

Another machine with the same system, Python and kind of processor installs from it without an index and a compiler:

    pip install --no-index --find-links wheelhouse 'three-mode[local,serve]'

llama-cpp-python is the wheel that `make venv` built, which uses every instruction of this processor. `--portable`
compiles one that runs on any x86-64 processor with AVX2 (on others: with what llama.cpp takes for granted there).
"""

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts import llama_wheel
from scripts.llama_wheel import PYTHON, ROOT

EXTRAS = ("local", "serve", "cluster", "grpc", "otel", "prices")
OUT = ROOT / "dist" / "wheelhouse"


def llama(out: Path, portable: bool) -> None:
    """Puts a wheel of llama-cpp-python into the folder."""
    ready = None if portable else llama_wheel.wheel()
    if ready is not None:
        shutil.copy(ready, out)
        return
    if portable:
        os.environ["CMAKE_ARGS"] = f"{os.environ.get('CMAKE_ARGS', '')} -DGGML_NATIVE=OFF".strip()
    # A portable one must neither come from pip's cache nor go there: its name is that of the other.
    if llama_wheel.build(out, *["--no-cache-dir"] if portable else []):
        sys.exit(f"three-mode: llama-cpp-python did not build; the whole log is in {llama_wheel.LOG}")


def rest(out: Path, extras: list[str]) -> None:
    """Puts three-mode into the folder, and what it and its extras need, as constraints.txt pins it."""
    command = [str(PYTHON), "-m", "pip", "--disable-pip-version-check", "wheel", "-q", "-c", "constraints.txt"]
    command += ["-w", str(out), "--find-links", str(out), f".[{','.join(extras)}]"]
    if subprocess.run(command, cwd=ROOT, check=False).returncode:
        sys.exit("three-mode: pip did not make the wheels")


def main(words: list[str]) -> None:
    """Builds the folder anew."""
    parser = argparse.ArgumentParser(prog="scripts/wheelhouse.py")
    parser.add_argument("--portable", action="store_true", help="without the instructions of this processor")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("extras", nargs="*")
    options = parser.parse_args(words)
    extras, out = options.extras or list(EXTRAS), options.out.resolve()
    if unknown := set(extras) - set(EXTRAS):
        parser.error(f"unknown extras: {', '.join(sorted(unknown))}; there are {', '.join(EXTRAS)}")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    if "local" in extras:
        llama(out, options.portable)
    rest(out, extras)
    wheels = list(out.glob("*.whl"))
    print(f"three-mode: {len(wheels)} wheels, {sum(each.stat().st_size for each in wheels) / 1e6:.0f} MB, in {out}")
    print(f"  pip install --no-index --find-links {out} 'three-mode[{','.join(extras)}]'")


if __name__ == "__main__":
    main(sys.argv[1:])
