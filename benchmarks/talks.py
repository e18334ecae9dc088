"""Conversations: opening a long one, what a turn costs beyond the call, and a thousand turns beside other libraries."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks._talks_subjects import (
    AgentsSDK,
    InstantModel,
    LangGraph,
    OurSay,
    OurTalk,
    file_size,
    fresh,
    installed,
    turns,
)
from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate_async
from three_mode.conversations import Conversations, TalkTurn, Window
from three_mode.messages import Message, from_json, to_json

US = OurTalk.name
OPEN = "open a conversation of 10,000 turns"
TURN = "a turn, beyond the call, with a full window of 8k tokens"
APPEND = "1,000 turns appended and read"
SIZE = "1,000 turns in a file"
LONG, MANY = 10_000, 1_000
PEERS = (AgentsSDK, LangGraph)


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    with tempfile.TemporaryDirectory() as folder:
        yield from asyncio.run(_long(Path(folder), context))
    for peer in PEERS:
        if not installed(peer):
            yield Missing(case=APPEND, subject=peer.name, how_to_get=peer.how_to_get)
    with tempfile.TemporaryDirectory() as folder:
        yield from asyncio.run(_many(Path(folder), context))


async def _long(folder: Path, context: Context) -> list[Row]:
    """A conversation of 10,000 turns: opening it, and one more turn."""
    path = folder / "long.db"
    context.progress("making a conversation of 10,000 turns")
    llm = InstantModel(["That is so, as far as anybody knows, and it has been for years."])
    async with llm, Conversations(path, llm) as talks:
        await talks.import_(_exported(LONG), "long")
    opened: list[float] = []
    for _ in range(context.rounds(30, least=5)):
        started = time.perf_counter()
        async with Conversations(path, llm) as talks:
            await talks.open("long", window=Window(tokens=8000))
            opened.append(time.perf_counter() - started)
    llm = InstantModel(["That is so, as far as anybody knows, and it has been for years."])
    async with llm, Conversations(path, llm) as talks:
        talk = await talks.open("long", window=Window(tokens=8000))
        for number in range(100):
            await talk.say(f"And is number {number} one of them, as they say?")
        took: list[float] = []
        for number in range(context.rounds(1000, least=100)):
            started = time.perf_counter()
            await talk.say(f"And is number {number} one of them, as they say?")
            took.append(time.perf_counter() - started)
    return [
        Row(case=OPEN, subject=US, unit="ms", samples=[1e3 * each for each in opened]),
        Row(case=TURN, subject=US, unit="ms", samples=[1e3 * each for each in took]),
    ]


async def _many(folder: Path, context: Context) -> list[Row]:
    """A thousand turns with each library."""
    talk = turns(MANY)
    subjects: list[Any] = [OurTalk(), OurSay(), *(peer() for peer in PEERS if installed(peer))]
    sizes: dict[str, int] = {}
    paths = fresh(folder)

    def sample(subject: Any) -> Any:
        async def take() -> float:
            path = next(paths)
            appended, read = await subject.run(path, talk)
            sizes[subject.name] = file_size(path)
            return float(appended + read)

        return take

    # LangGraph writes all messages at each step: one sample of it takes as long as all others together.
    quick = {each.name: sample(each) for each in subjects if not isinstance(each, LangGraph)}
    samples = await alternate_async(quick, context.rounds(5, least=3))
    for each in subjects:
        if each.name not in samples:
            context.progress(each.name)
            samples[each.name] = [await sample(each)()]
    rows = [Row(case=APPEND, subject=name, unit="s", samples=values) for name, values in samples.items()]
    rows += [Row(case=SIZE, subject=name, unit="kB", samples=[size / 1e3]) for name, size in sizes.items()]
    return rows


def _exported(count: int) -> dict[str, Any]:
    made = [
        TalkTurn(
            number=number,
            state="answered",
            at=datetime.now(UTC),
            said=(Message("user", question),),
            answered=(Message("assistant", answer),),
            model="m",
            finish_reason="stop",
        )
        for number, (question, answer) in enumerate(turns(count), 1)
    ]
    plain: list[Any] = from_json(list[Any], to_json(made))
    return {"format": "three-mode conversation", "version": 1, "name": "long", "turns": plain}


BENCHMARK = Benchmark(
    summary="conversations: opening a long one, a turn's own cost, a thousand turns beside other libraries",
    run=run,
    targets=[
        Target(case=OPEN, subject=US, at_most=50.0),
        Target(case=TURN, subject=US, at_most=1.0),
        Target(case=APPEND, subject=US, peer=AgentsSDK.name, at_most=0.5),
        Target(case=SIZE, subject=US, peer=AgentsSDK.name, at_most=0.5),
    ],
    notes=(
        "The model answers at once. Ours is `Talk.add`, which stores a turn as the peers do, and feeds the index for "
        "searching; `say` beside it writes each turn twice and fits a window for it. Peers: the session of the Agents "
        "SDK adds both items of a turn in one call, and LangGraph's saver puts one checkpoint a turn. The texts are "
        "Python's own help. Sizes are those after the file was closed, the index included."
    ),
)
