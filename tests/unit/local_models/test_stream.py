"""A stream of pieces: what came together is known to be there, a silent engine is an error, and a dropped stream is let
go.
"""

import asyncio
import gc
import weakref

import pytest

from local_models import stream as streams
from local_models.backend import Deliver, RunningCall
from local_models.errors import Overloaded, WorkerDied
from local_models.replies import Piece, Usage
from local_models.stream import PieceStream


class Engine:
    """Delivers what a test says; remembers whether the call was ended."""

    def __init__(self, *items: object) -> None:
        self.items, self.cancelled = items, False

    async def begin(self, deliver: Deliver) -> RunningCall:
        for item in self.items:
            deliver(item)  # type: ignore[arg-type]
        return RunningCall(self._cancel)

    def _cancel(self) -> None:
        self.cancelled = True


async def test_pieces_that_came_together_are_taken_without_waiting() -> None:
    last = Piece(text="c", finish="stop", usage=Usage())
    stream = PieceStream(Engine(Piece(text="a"), Piece(text="b"), last).begin, 1.0, None)
    assert not stream.waiting
    assert (await anext(stream)).text == "a"
    assert stream.waiting
    assert (await anext(stream)).text == "b"
    assert stream.waiting
    assert (await anext(stream)).finish == "stop"
    assert not stream.waiting
    assert [piece async for piece in stream] == []


async def test_an_error_that_comes_next_is_no_piece() -> None:
    stream = PieceStream(Engine(Piece(text="a"), Overloaded("too much")).begin, 1.0, None)
    assert (await anext(stream)).text == "a"
    assert not stream.waiting, "what came before an error goes on before it is raised"
    with pytest.raises(Overloaded):
        await anext(stream)


async def test_an_engine_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "GRACE", 0.01)
    engine = Engine()
    with pytest.raises(WorkerDied, match="does not answer"):
        await anext(PieceStream(engine.begin, 0.01, None))
    assert engine.cancelled


async def test_a_stream_that_nobody_holds_ends_its_call() -> None:
    engine = Engine(Piece(text="a"))
    stream = PieceStream(engine.begin, 60.0, None)
    await anext(stream)
    gone = weakref.ref(stream)
    del stream
    gc.collect()
    assert gone() is None, "the timer of a silent engine must not keep it alive"
    assert engine.cancelled


async def test_a_reader_that_is_cancelled_ends_its_call() -> None:
    engine = Engine()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await anext(PieceStream(engine.begin, 60.0, None))
    assert engine.cancelled
