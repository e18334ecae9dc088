"""The corpus: inputs in files, a folder a target. A finding becomes a file here, and is replayed by every test run.

`python -m tests.fuzz.seeds` writes those that are made from real messages.
"""

from collections.abc import Iterator
from pathlib import Path

FOLDER = Path(__file__).parent / "corpus"


def inputs(target: str) -> Iterator[tuple[str, bytes]]:
    """Name and content of each input of a target, in order; of one that has no folder, none."""
    for path in sorted((FOLDER / target).glob("*")):
        yield path.name, path.read_bytes()


def keep(target: str, name: str, data: bytes) -> Path:
    """Write an input of a target."""
    path = FOLDER / target / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path
