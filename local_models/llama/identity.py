"""Identity: what the states of one model have to have in common, as a key.

The states of a model go with exactly its weights and adapters, and with the build of llama.cpp, the processor's
features and the settings that computed them. Files count by their content, so that a copy or another folder has the
same key. The digest of a file is remembered for exactly that file, since to read it takes a second a gigabyte.
"""

import hashlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from local_models.llama.library import library, system_info, version
from local_models.llama.remembered import cache_folder, read_result, write_result
from local_models.llama.shape import ContextShape

FRESH = 2.0  # seconds in which a file may change twice without another time of change
_MOST_REMEMBERED = 64  # files; the oldest go first


class FileDigest(msgspec.Struct, frozen=True, kw_only=True):
    """SHA-256 of a file, as remembered."""

    sha256: str


def model_key(
    files: Sequence[str], adapters: Sequence[tuple[str, float]], shape: ContextShape, gpu_layers: int, long_text: bool
) -> str:
    """Returns the key of a model's states, 32 hexadecimal digits; raises `OSError`.

    `files` are those of the model, "" for one that it has not; `adapters` have a path and a scale each. `long_text`
    says whether a sequence has more room than the model was first trained for, which changes positions in some models.
    """
    facts = (
        [file and _digest(file) for file in files],
        [(_digest(adapter), scale) for adapter, scale in adapters],
        (version(), library().build, system_info()),
        (shape.kv_type, shape.unified, gpu_layers, long_text),
        (sys.byteorder,),
    )
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


def _digest(path: str) -> str:
    """Returns the SHA-256 of a file, from memory where it has not changed since."""
    about = os.stat(path)
    identity = (os.path.realpath(path), about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    where = cache_folder() / "digests" / f"{hashlib.sha256(repr(identity).encode()).hexdigest()}.json"
    known = read_result(where, FileDigest)
    if known is not None:
        return known.sha256
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if abs(time.time() - about.st_ctime) > FRESH:
        write_result(where, FileDigest(sha256=digest))
        _limit(where.parent)
    return digest


def _limit(folder: Path) -> None:
    try:
        kept = sorted(folder.glob("*.json"), key=lambda other: other.stat().st_mtime_ns)
        for other in kept[:-_MOST_REMEMBERED]:
            other.unlink()
    except OSError:
        pass  # another program has removed it
