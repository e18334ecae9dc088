"""Remembered results: files of JSON in the user's cache folder, `$XDG_CACHE_HOME/three-mode`.

What is there may be anything: a file that does not read is as good as none. One that cannot be written saves no time,
and does no harm.
"""

import os
from pathlib import Path
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


def cache_folder() -> Path:
    """Returns the folder of all results, which may not exist."""
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    try:
        return Path(base).expanduser() / "three-mode"
    except RuntimeError:  # a user without a home: where nothing can be, nothing is read or written
        return Path(os.devnull) / "three-mode"


def read_result(path: Path, kind: type[T]) -> T | None:
    """Returns what a file holds; None where it holds nothing of that kind."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
        return None


def write_result(path: Path, value: Any) -> None:
    """Replaces a file at once; of two programs that write at the same time, the later one's result stays."""
    import tempfile  # with what it imports it takes longer than all else here

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        number, name = tempfile.mkstemp(dir=path.parent, prefix=f"{path.stem}-")
        try:
            with os.fdopen(number, "wb") as file:
                file.write(msgspec.json.encode(value))
            os.replace(name, path)
        except BaseException:
            os.unlink(name)
            raise
    except OSError:
        pass
