"""Between one event loop and the engine: calls go in, and pieces come out, many at a time."""

import asyncio
import logging
import weakref

from local_models.backend import Take
from local_models.engine.engine import Engine
from local_models.engine.tickets import Item, Ticket
from local_models.errors import LocalModelError
from local_models.replies import Piece

logger = logging.getLogger("local_models")


class LoopSide:
    """Lives on its loop. Calls made in the same turn of the loop are handed over together, so that they share their first
    step; were each handed over alone, the engine would begin with the first and take the others up one by one.

    The loop is not kept: a model that many short-lived loops have used would hold them all."""

    def __init__(self, loop: asyncio.AbstractEventLoop, engine: Engine) -> None:
        self._loop, self._engine = weakref.ref(loop), engine
        self._asked: list[Ticket] = []
        self._tokens = 0

    def submit(self, ticket: Ticket) -> None:
        self._engine.require_open()
        if not self._asked:
            asyncio.get_running_loop().call_soon(self._hand_over)
        self._asked.append(ticket)
        self._tokens += len(ticket.tokens)
        if self._tokens >= self._engine.limits.batch:  # a whole step of prompts: the engine may as well begin
            self._hand_over()

    def _hand_over(self) -> None:
        asked, self._asked, self._tokens = self._asked, [], 0
        if not asked:
            return
        try:
            self._engine.submit(asked)
        except LocalModelError as error:  # closed in between
            for ticket in asked:
                ticket.deliver(error)

    def __call__(self, items: list[tuple[Ticket, Item]]) -> None:
        """From the engine's thread: a step's pieces."""
        loop = self._loop()
        try:
            if loop is not None:
                loop.call_soon_threadsafe(self._hand_out, items)
        except RuntimeError:  # the loop is closed, and its callers have gone with it
            pass

    @staticmethod
    def _hand_out(items: list[tuple[Ticket, Item]]) -> None:
        for ticket, item in items:
            ticket.deliver(item)


class DirectPost:
    """Where the pieces of one call go that somebody takes on the engine's own thread, which saves a loop's wake-up and its turn
    of the interpreter. What is not taken goes to the loop, and so does all that comes after it: the order stays."""

    __slots__ = ("_side", "_take")

    def __init__(self, side: LoopSide, take: Take) -> None:
        self._side = side
        self._take: Take | None = take

    def __call__(self, items: list[tuple[Ticket, Item]]) -> None:
        if self._take is not None:
            pieces = [item for _, item in items if isinstance(item, Piece)]
            if len(pieces) < len(items) or not self._taken(self._take, pieces):
                self._take = None
            elif pieces[-1].finish is None:
                return
            else:  # its reader on the loop waits for the end
                self._take, items = None, items[-1:]
        self._side(items)

    @staticmethod
    def _taken(take: Take, pieces: list[Piece]) -> bool:
        try:
            return take(pieces)
        except Exception:  # the engine must not end over it; the loop's turn finds out what is wrong
            logger.exception("pieces of a local model could not be passed on")
            return False
