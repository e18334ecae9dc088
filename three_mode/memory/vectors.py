"""Search by meaning: vectors of texts, as float32 in the file, compared by their cosine.

numpy is imported by the functions that need it: a memory without an embedding model has no use for it.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import Any

from three_mode.errors import BadReply, MissingExtra
from three_mode.memory.schema import transaction

_AT_ONCE = 8192  # vectors that are read together
_MOST_BLOCKS = 64  # blocks that are kept apart


def check_numpy() -> None:
    """Raises `MissingExtra` where numpy is not installed."""
    if find_spec("numpy") is None:
        raise MissingExtra.of("numpy", "local")


def unit_vectors(vectors: Sequence[Sequence[float]], expected: int) -> list[bytes]:
    """Vectors of length 1, as they are stored. Raises where there are not as many as texts, or one is no vector."""
    import numpy as np

    found = [np.asarray(vector, dtype=np.float32) for vector in vectors]
    sizes = {vector.shape for vector in found}
    if len(found) != expected or len(sizes) > 1 or not all(vector.ndim == 1 and vector.size for vector in found):
        raise BadReply(f"{len(found)} vectors of the sizes {sorted(sizes)} came back for {expected} texts")
    if not all(np.isfinite(vector).all() for vector in found):
        raise BadReply("a vector came back that is not of finite numbers")
    return [(vector / (float(np.linalg.norm(vector)) or 1.0)).astype("<f4").tobytes() for vector in found]


def put(file: sqlite3.Connection, model: str, vectors: dict[int, bytes]) -> int:
    """Stores vectors of memories, of those that were not forgotten meanwhile; returns how many."""
    with transaction(file):
        return sum(
            file.execute(
                "INSERT OR IGNORE INTO vector (memory, namespace, model, vector) "
                "SELECT id, namespace, ?, ? FROM memory WHERE id = ?",
                (model, vector, key),
            ).rowcount
            for key, vector in vectors.items()
        )


def missing(file: sqlite3.Connection, number: int, model: str, limit: int) -> dict[int, str]:
    """Texts of a namespace that have no vector of a model, by their ids."""
    rows = file.execute(
        "SELECT id, text FROM memory WHERE namespace = ? AND NOT EXISTS "
        "(SELECT 1 FROM vector WHERE vector.memory = memory.id AND vector.model = ?) LIMIT ?",
        (number, model, limit),
    )
    return dict(rows.fetchall())


class VectorSearch:
    """Searches vectors; keeps those of the namespace that was last searched in this process, up to a size."""

    def __init__(self, cache: int) -> None:
        self._limit = cache
        self._key: tuple[object, ...] = ()
        self._last = 0
        self._blocks: list[tuple[Any, Any]] = []

    def nearest(self, file: sqlite3.Connection, number: int, model: str, vector: bytes, limit: int) -> list[int]:
        """Ids of the memories of a namespace whose vectors are nearest to one, the nearest first."""
        import numpy as np

        query = np.frombuffer(vector, dtype="<f4")
        best: list[tuple[float, int]] = []
        for ids, matrix in self._read(file, number, model, len(vector)):
            scores = matrix @ query
            top = np.argpartition(-scores, limit - 1)[:limit] if len(scores) > limit else np.arange(len(scores))
            best += [(float(scores[index]), int(ids[index])) for index in top]
        best.sort(key=lambda each: (-each[0], -each[1]))
        return [key for _, key in best[:limit]]

    def _read(self, file: sqlite3.Connection, number: int, model: str, size: int) -> Iterator[tuple[Any, Any]]:
        """Vectors of a namespace in blocks. What was read before is used again, unless a memory was forgotten."""
        row = file.execute("SELECT removals FROM namespace WHERE id = ?", (number,)).fetchone()
        key = (number, model, size, row)
        if key != self._key:
            self._key, self._last, self._blocks = key, 0, []
        yield from tuple(self._blocks)
        last, kept = self._last, sum(matrix.nbytes for _, matrix in self._blocks)
        while True:
            rows = file.execute(
                "SELECT id, memory, vector FROM vector "
                "WHERE namespace = ? AND model = ? AND id > ? ORDER BY id LIMIT ?",
                (number, model, last, _AT_ONCE),
            ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            block = _block([row for row in rows if len(row[2]) == size], size)
            kept += block[1].nbytes
            if kept <= self._limit:
                self._blocks.append(block)
                self._last = last
                if len(self._blocks) > _MOST_BLOCKS:
                    self._blocks = [_merged(self._blocks)]
            yield block


def _block(rows: list[tuple[int, int, bytes]], size: int) -> tuple[Any, Any]:
    import numpy as np

    matrix = np.frombuffer(b"".join(row[2] for row in rows), dtype="<f4").reshape(len(rows), size // 4)
    return np.array([row[1] for row in rows], dtype=np.int64), matrix


def _merged(blocks: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    import numpy as np

    return np.concatenate([ids for ids, _ in blocks]), np.concatenate([matrix for _, matrix in blocks])
