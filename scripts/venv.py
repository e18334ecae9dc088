"""Creates `.venv` and installs what a target of the Makefile needs, once.

    python3 scripts/venv.py [--llama-later] [GROUP...]     groups: dev (the default; it includes docs and demo),
                                                           demo, bench, train, hf, fuzz

Runs on the standard library alone. A stamp in `.venv` remembers what was installed, so that a second call takes
milliseconds; it changes with pyproject.toml, setup.py, constraints.txt and the C sources. llama-cpp-python has no
binary wheel on the index: it is compiled here once, while pip brings the rest (see scripts/llama_wheel.py).
`--llama-later` leaves it compiling, and the next call installs it. Of PyTorch, which `hf` needs, it takes the CPU build
alone: the other one is several GB of CUDA.
"""

import hashlib
import os
import subprocess
import sys
import tomllib
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scripts import llama_wheel

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
INPUTS = ("pyproject.toml", "setup.py", "constraints.txt", "scripts/venv.py")
EXTRAS = "cluster,grpc,serve"  # `local` comes when llama.cpp is there
LATER = "--llama-later"


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


def install_llama() -> None:
    """Installs the wheel that was built, with what it needs; in place of one that crashes on this processor."""
    if llama_wheel.installed():
        return
    wheels = ["--find-links", str(llama_wheel.WHEELS)]
    pip("install", "-q", "--no-deps", "--no-index", "--force-reinstall", *wheels, llama_wheel.requirement())
    pip("install", "-q", "-c", "constraints.txt", *llama_wheel.requirements())


def is_installed(group: str) -> bool:
    """Whether the environment has a group already. `dev` includes `demo`."""
    names = [group, "dev"] if group == "demo" else [group]
    stamps = {name: VENV / f".stamp-{name}" for name in names}
    return any(stamp.exists() and stamp.read_text() == fingerprint(name) for name, stamp in stamps.items())


def install(group: str) -> None:
    """Installs a group unless the environment has it already."""
    if is_installed(group):
        return
    print(f"three-mode: installing what `{group}` needs into .venv", flush=True)
    if group == "hf":
        install_torch()
    ours = ["-e", f".[{EXTRAS}]"] if group in ("demo", "dev") else []
    pip("install", "-q", "-c", "constraints.txt", *ours, "--group", group)
    (VENV / f".stamp-{group}").write_text(fingerprint(group))


def main(words: list[str]) -> None:
    """Installs the groups that are named, and `dev` before them; `demo` needs none of it."""
    later = LATER in words
    groups = [word for word in words if word != LATER]
    create()
    builder = llama_wheel.start(*["--nice"] if later else [])
    for name in groups if groups == ["demo"] else ["dev", *groups]:
        install(name)
    if not later or builder is None:
        llama_wheel.finish(builder)
        install_llama()


if __name__ == "__main__":
    os.environ.pop("PYTHONPATH", None)
    main(sys.argv[1:])
