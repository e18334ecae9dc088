"""Stream of pieces: an async iterator and context manager; leaving it early ends the call."""

import asyncio
import weakref
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from local_models.backend import Deliver, RunningCall
from local_models.errors import LocalModelError, WorkerDied
from local_models.prompts.answers import AnswerReader
from local_models.replies import Piece, Reply, TokenScore

if TYPE_CHECKING:
    from local_models.prompts.answer_check import AnswerCheck

Begin = Callable[[Deliver], Awaitable[RunningCall]]
"""Starts the call of a stream, which receives its pieces through `Deliver`."""
GRACE = 30.0  # seconds after its deadline that a call waits for the engine to report the deadline


class PieceStream(AsyncIterator[Piece]):
    """Pieces of one answer. The call starts at the first `async for`, `async with` or `batch`.

    Pieces that were not read yet are kept, at most one whole answer. Iteration raises the `LocalModelError` that ended
    the call.
    """

    def __init__(
        self, begin: Begin, within: float, reader: AnswerReader | None, check: "AnswerCheck | None" = None
    ) -> None:
        self._begin, self._within, self._reader, self._check = begin, within, reader, check
        self._items: deque[Piece | LocalModelError] = deque()
        self._arrival: asyncio.Future[None] | None = None  # set while the reader waits
        self._started = False
        self._silence_timer: asyncio.TimerHandle | None = None
        self._running: RunningCall | None = None
        self._ended = False
        self._on_arrival: Callable[[], None] | None = None

    def _deliver(self, item: Piece | LocalModelError) -> None:
        self._items.append(item)
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)
        elif self._on_arrival is not None:
            on_arrival, self._on_arrival = self._on_arrival, None
            on_arrival()

    async def _ensure_started(self) -> None:
        if not self._started:
            self._watch_for_silence()
            self._running = await self._begin(self._deliver)

    def _watch_for_silence(self) -> None:
        self._started = True
        # The engine enforces the deadline of the call; this timer is for an engine that has died.
        loop = asyncio.get_running_loop()
        self._silence_timer = loop.call_later(self._within + GRACE, _report_silence, weakref.ref(self))

    def begin_at_once(self, begin: Callable[[Deliver], RunningCall | None], news: Callable[[], None]) -> bool:
        """Starts the call through `begin`; False: `begin` returned None, and nothing has happened.

        `news` is called once, on the loop, when the first piece or an error has arrived.
        """
        running = begin(self._deliver)
        if running is None:
            return False
        self._watch_for_silence()
        self._running, self._on_arrival = running, news
        return True

    @property
    def waiting(self) -> bool:
        """Whether the next piece has arrived, so that reading it does not wait; an error is no piece."""
        return bool(self._items) and not self._ended and isinstance(self._items[0], Piece)

    async def __anext__(self) -> Piece:
        if self._ended:
            raise StopAsyncIteration
        try:
            await self._ensure_started()
            return await self._next_piece()
        except BaseException:  # also CancelledError: nobody reads the rest
            self.cancel()
            raise

    async def batch(self) -> list[Piece]:
        """Waits for a piece and returns all that have arrived; [] at the end of the stream."""
        if self._ended:
            return []
        try:
            await self._ensure_started()
            return [await self._next_piece(), *self.here()]
        except BaseException:
            self.cancel()
            raise

    def here(self) -> list[Piece]:
        """Returns the pieces that have arrived, without waiting; leaves an error for the next read."""
        pieces: list[Piece] = []
        while self.waiting:
            pieces.append(self._pop_piece())
        return pieces

    async def _next_piece(self) -> Piece:
        while not self._items:
            self._arrival = asyncio.get_running_loop().create_future()
            try:
                await self._arrival
            finally:
                self._arrival = None
        return self._pop_piece()

    def _pop_piece(self) -> Piece:
        item = self._items.popleft()
        if isinstance(item, LocalModelError):
            raise item
        if item.finish:
            self._ended = True
            self._stop_watching()
        piece = item if self._reader is None else self._reader.read(item)
        return piece if self._check is None else self._checked(piece, self._check)

    def _checked(self, piece: Piece, check: "AnswerCheck") -> Piece:
        """The piece; that of an answer that does not fit its schema is no last one, and the error follows it."""
        check.feed(piece.text)
        problem = check.problem(piece.finish, piece.tool_calls) if piece.finish is not None else None
        if problem is None:
            return piece
        self._items.appendleft(problem)
        self._ended = False
        return Piece(text=piece.text, reasoning=piece.reasoning, tokens=piece.tokens, scores=piece.scores)

    async def __aenter__(self) -> Self:
        try:
            await self._ensure_started()
        except BaseException:
            self.cancel()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cancel()

    def cancel(self) -> None:
        """Ends the call and drops its unread pieces. May be called again."""
        finished, self._ended = self._ended, True
        if self._running is not None and not finished:
            self._running.cancel()
        self._items.clear()
        self._stop_watching()

    def _stop_watching(self) -> None:
        """Cancels the timer: the engine has nothing more to report."""
        if self._silence_timer is not None:
            self._silence_timer.cancel()
            self._silence_timer = None

    async def aclose(self) -> None:
        """Ends the call, as `cancel` does."""
        self.cancel()

    def __del__(self) -> None:
        if not self._ended and self._running is not None:
            self._running.cancel()


def _report_silence(stream: "weakref.ref[PieceStream]") -> None:
    waiting = stream()
    if waiting is not None:
        waiting._deliver(WorkerDied("the engine of this model does not answer", hint="load the model again"))


async def collect_reply(stream: PieceStream) -> Reply:
    """Reads a stream to its end and joins its pieces."""
    texts: list[str] = []
    thoughts: list[str] = []
    tokens: list[int] = []
    scores: list[TokenScore] = []
    async for piece in stream:
        texts.append(piece.text)
        thoughts.append(piece.reasoning)
        tokens += piece.tokens
        scores += piece.scores
        if piece.finish is not None:
            assert piece.usage is not None
            return Reply(
                text="".join(texts),
                finish=piece.finish,
                usage=piece.usage,
                reasoning="".join(thoughts),
                tokens=tuple(tokens),
                scores=tuple(scores),
                tool_calls=piece.tool_calls,
            )
    raise WorkerDied("the stream ended without an end")
