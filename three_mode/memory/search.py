"""Search by words: BM25 with the counts of one namespace, in a bounded time whatever the query.

FTS5's `bm25()` counts over the whole file, where a word that all of a small namespace has looks rare. So each term is
a query of its own, whose scores are weighed by how rare the term is in its namespace. (The mean length of a text, the
other count in BM25, stays that of the file.)

A term that more than `_COMMON` memories have says little and would cost much. Such terms count where a memory has all
of them, and the newest memories that do are looked at.
"""

import math
import sqlite3
from collections.abc import Iterable

from three_mode.memory.terms import match, query_terms

_COMMON = 2000  # memories with a term, above which it is common
_NEWEST = 1000  # memories with all common terms of a query that are looked at
_ROWS = 3000  # most rows that are scored for the rare terms of a query
_TERMS = 24  # most rare terms of a query
_FUSED = 60  # the usual constant of reciprocal rank fusion: how little the first places differ


def by_words(file: sqlite3.Connection, number: int, query: str, limit: int) -> list[int]:
    """Ids of the memories of a namespace that are nearest to a query by its words, the nearest first."""
    row = file.execute("SELECT memories, (SELECT sum(memories) FROM namespace) FROM namespace WHERE id = ?", (number,))
    held, every = row.fetchone() or (0, 0)
    if not held:
        return []
    counted = [(_count(file, number, term), term) for term in query_terms(query)]
    rare = sorted((have, term) for have, term in counted if 0 < have <= _COMMON)[:_TERMS]
    common = [term for have, term in counted if have > _COMMON]
    scores: dict[int, float] = {}
    rows = 0
    for have, term in rare:
        rows += have
        if rows > _ROWS and scores:
            break
        found = file.execute(
            "SELECT rowid, bm25(memory_terms) FROM memory_terms WHERE memory_terms MATCH ?", (match(number, term),)
        )
        _add(scores, found, _rarity(held, have) / _rarity_in_file(every, have))
    while common:
        together = "SELECT rowid FROM memory_terms WHERE memory_terms MATCH ? ORDER BY rowid DESC LIMIT ?"
        newest = [key for (key,) in file.execute(together, (match(number, *common), _NEWEST))]
        weight = len(common) * _rarity(held, _COMMON)
        for key in newest:
            scores[key] = scores.get(key, 0.0) + weight
        if newest or rare:
            break
        common.pop()
    nearest = sorted(scores.items(), key=lambda each: (-each[1], -each[0]))
    return [key for key, _ in nearest[:limit]]


def fused(*rankings: Iterable[int]) -> dict[int, float]:
    """Reciprocal ranks of several rankings, summed: what stands high in any of them, and higher in several."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for place, key in enumerate(ranking, 1):
            scores[key] = scores.get(key, 0.0) + 1.0 / (_FUSED + place)
    return scores


def _count(file: sqlite3.Connection, number: int, term: str) -> int:
    """How many memories of a namespace have a term; one more than `_COMMON` where more have it."""
    counted = file.execute(
        "SELECT count(*) FROM (SELECT 1 FROM memory_terms WHERE memory_terms MATCH ? LIMIT ?)",
        (match(number, term), _COMMON + 1),
    )
    return int(counted.fetchone()[0])


def _add(scores: dict[int, float], found: Iterable[tuple[int, float]], weight: float) -> None:
    for key, score in found:  # FTS5's scores are negative: lower is nearer
        scores[key] = scores.get(key, 0.0) - score * weight


def _rarity(held: int, have: int) -> float:
    """Weight of a term in BM25, always above 0."""
    return math.log(1.0 + (held - have + 0.5) / (have + 0.5)) if have <= held else 1e-6


def _rarity_in_file(every: int, have: int) -> float:
    """Weight of a term in FTS5's own `bm25()`."""
    weight = math.log((every - have + 0.5) / (have + 0.5)) if have < every else 0.0
    return weight if weight > 0.0 else 1e-6
