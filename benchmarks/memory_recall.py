"""Recall among many memories: a search by words, beside a plain FTS5 query and the language's own scan."""

import asyncio
import itertools
import random
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.harness import Benchmark, Context, Row, Target, alternate, timed
from three_mode.memory import Memory

MEMORIES = 100_000
NAMESPACES = (1, 1000)
QUESTIONS = 40
WORDS = 14  # of a memory
OURS, FTS5, SCAN = "three-mode", "FTS5: all words, ORDER BY rank", "every text, in Python"


class Words:
    """Texts whose words are as frequent as those of a language: few are common, most are rare."""

    def __init__(self, seed: int) -> None:
        self._chance = random.Random(seed)
        self._words = [self._word(number) for number in range(20_000)]
        self._weights = list(itertools.accumulate(1 / (rank + 10) for rank in range(len(self._words))))

    def text(self, words: int = WORDS) -> str:
        return " ".join(self._chance.choices(self._words, cum_weights=self._weights, k=words))

    @staticmethod
    def _word(number: int) -> str:
        letters = "bcdfghjklmnpqrtvwxz"
        found = ""
        while True:
            number, index = divmod(number, len(letters))
            found += letters[index] + "aeiou"[index % 5]
            if not number:
                return found


def case(namespaces: int) -> str:
    """Name of a case."""
    where = "one namespace" if namespaces == 1 else f"one of {namespaces} namespaces"
    return f"a question of six words among {MEMORIES:,} memories, in {where}"


async def fill(path: Path, namespaces: int, texts: list[str]) -> None:
    """Writes the memories."""
    async with Memory(path) as memory:
        each = len(texts) // namespaces
        for number in range(namespaces):
            await memory.scoped(f"user{number}").remember_many(texts[number * each : (number + 1) * each])


def run(context: Context) -> Iterator[Row]:
    """Runs the benchmark."""
    for namespaces in NAMESPACES:
        words = Words(7)
        texts = [words.text() for _ in range(MEMORIES)]
        mine = texts[: MEMORIES // namespaces]
        # one word of each question is in a memory of the namespace that is asked, the others may be anywhere
        questions = [f"{words.text(5)} {mine[n % len(mine)].split()[0]}" for n in range(QUESTIONS)]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "memory.db"
            context.progress(f"{case(namespaces)}: writing")
            asyncio.run(fill(path, namespaces, texts))
            context.progress(case(namespaces))
            yield from rows(context, path, namespaces, mine, questions)


def rows(context: Context, path: Path, namespaces: int, texts: list[str], questions: list[str]) -> Iterator[Row]:
    """Samples of each subject over a file."""
    runner = asyncio.Runner()
    memory = Memory(path, namespace="user0")
    plain = plain_fts5(path.with_name("plain.db"), texts)
    tokens = [set(text.split()) for text in texts]
    asked = itertools.cycle(questions)

    def recall() -> None:
        assert runner.run(memory.recall(next(asked)))

    def fts5() -> None:
        query = " OR ".join(next(asked).split())
        plain.execute("SELECT rowid FROM f WHERE f MATCH ? ORDER BY rank LIMIT 8", (query,)).fetchall()

    def scan() -> None:
        wanted = set(next(asked).split())
        sorted(range(len(texts)), key=lambda index: -len(wanted & tokens[index]))[:8]

    try:
        subjects: dict[str, Callable[[], float]] = {OURS: timed(recall), FTS5: timed(fts5), SCAN: timed(scan)}
        samples = alternate(subjects, context.rounds(QUESTIONS, least=10))
        for name, seconds in samples.items():
            yield Row(case=case(namespaces), subject=name, unit="ms", samples=[1e3 * s for s in seconds])
    finally:
        plain.close()
        runner.run(memory.close())
        runner.close()


def plain_fts5(path: Path, texts: list[str]) -> sqlite3.Connection:
    """An index of the namespace's texts alone, as a program would write one."""
    file = sqlite3.connect(path, isolation_level=None)
    file.execute("PRAGMA journal_mode=WAL")
    file.execute("CREATE VIRTUAL TABLE f USING fts5(text, tokenize='porter unicode61')")
    file.execute("BEGIN")
    file.executemany("INSERT INTO f (text) VALUES (?)", ((text,) for text in texts))
    file.execute("COMMIT")
    return file


BENCHMARK = Benchmark(
    summary="recall among 100,000 memories, by words",
    run=run,
    targets=[Target(case=case(namespaces), subject=OURS, at_most=10.0) for namespaces in NAMESPACES],
    notes=(
        f"Memories of {WORDS} words, drawn from 20,000 by the frequencies of a language; each sample is another "
        "question. The other two have the texts of that namespace alone, which would be a file for each. "
        "The scan ranks by how many words fit."
    ),
)
