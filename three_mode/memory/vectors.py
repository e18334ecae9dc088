"""Search by meaning: vectors of texts, as float32 in the file, compared by their cosine.

numpy is imported by the functions that need it: a memory without an embedding model has no use for it.
"""

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

from three_mode.errors import BadReply, MissingExtra
from three_mode.memory.schema import transaction

_AT_ONCE = 8192  # vectors that are read together
_MOST_BLOCKS = 64  # blocks that are kept apart
_MOST_NAMESPACES = 1000  # namespaces whose vectors are kept


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


@dataclass(slots=True)
class _Namespace:
    """Vectors of a namespace and model that are in this process."""

    state: tuple[object, ...]
    """Their size, and how many memories were removed before: vectors of another state are of no use."""
    last: int = 0
    """The last row that was read."""
    blocks: list[tuple[Any, Any]] = field(default_factory=list)
    """Ids of memories, and a matrix with a row for each."""
    size: int = 0
    """Bytes."""


class VectorSearch:
    """Searches vectors; those of the namespaces that were last searched stay in this process, up to a size in bytes."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._known: OrderedDict[tuple[int, str], _Namespace] = OrderedDict()

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
        """Vectors of a namespace in blocks: those that are known, then those that were added since."""
        state = (size, file.execute("SELECT removals FROM namespace WHERE id = ?", (number,)).fetchone())
        known = self._known.pop((number, model), None)
        if known is None or known.state != state:
            known = _Namespace(state)
        yield from tuple(known.blocks)
        last, keeps = known.last, True
        while True:
            rows = file.execute(
                "SELECT id, memory, vector FROM vector "
                "WHERE namespace = ? AND model = ? AND id > ? ORDER BY id LIMIT ?",
                (number, model, last, _AT_ONCE),
            ).fetchall()
            if not rows:
                break
            last = rows[-1][0]
            block = _block([row for row in rows if len(row[2]) == size], size)
            keeps = keeps and known.size + block[1].nbytes <= self._most
            if keeps:
                known.blocks.append(block)
                known.size += block[1].nbytes
                known.last = last
            yield block
        self._keep((number, model), known)

    def _keep(self, key: tuple[int, str], known: _Namespace) -> None:
        """Keeps the vectors of a namespace, in the place of those that were not searched for the longest time."""
        if len(known.blocks) > _MOST_BLOCKS:
            known.blocks = [_merged(known.blocks)]
        self._known[key] = known
        while len(self._known) > 1 and sum(each.size for each in self._known.values()) > self._most:
            self._known.popitem(last=False)
        while len(self._known) > _MOST_NAMESPACES:
            self._known.popitem(last=False)


def _block(rows: list[tuple[int, int, bytes]], size: int) -> tuple[Any, Any]:
    import numpy as np

    matrix = np.frombuffer(b"".join(row[2] for row in rows), dtype="<f4").reshape(len(rows), size // 4)
    return np.array([row[1] for row in rows], dtype=np.int64), matrix


def _merged(blocks: list[tuple[Any, Any]]) -> tuple[Any, Any]:
    import numpy as np

    return np.concatenate([ids for ids, _ in blocks]), np.concatenate([matrix for _, matrix in blocks])
