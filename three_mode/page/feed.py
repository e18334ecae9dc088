"""One feed for all pages: it runs the views that somebody looks at, and nothing while nobody does.

page ── look(at) ──> Feed ── a task for each view that is looked at ──> View.tell(readers)
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Protocol

import msgspec

from three_mode.errors import ThreeModeError
from three_mode.page.readers import PageReader

log = logging.getLogger("three_mode.page")
MOST_READERS = 64


class PageView(Protocol):
    """Something to look at. It is told of its readers again and again, while there are any."""

    name: str
    """What a page says that it looks at."""
    every: float
    """Seconds between two times."""

    async def tell(self, readers: Sequence[PageReader]) -> None:
        """Tell these pages what is new. A ThreeModeError is told to them as a `problem`."""
        ...

    def left(self) -> None:
        """Nobody looks any more."""
        ...


class Feed:
    """All pages of one endpoint, and the views that they look at."""

    def __init__(self, views: Iterable[PageView], most: int = MOST_READERS) -> None:
        self.views = {view.name: view for view in views}
        self._most = most
        self.readers: set[PageReader] = set()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._woken: dict[str, asyncio.Event] = {}

    @property
    def running(self) -> list[str]:
        """Names of the views that run."""
        return sorted(self._running)

    def open(self) -> PageReader | None:
        """A new reader, which looks at nothing yet; None where there are too many."""
        if len(self.readers) >= self._most:
            return None
        reader = PageReader()
        self.readers.add(reader)
        return reader

    def look(self, reader: PageReader, at: Iterable[str], agent: str = "") -> None:
        """This page looks at these views, and at this agent, from now on. Views that there are not are passed over."""
        before, agent_before = reader.at, reader.agent
        reader.at = frozenset(at) & self.views.keys()
        reader.agent = agent
        for gone in before - reader.at:
            reader.has.pop(gone, None)
            reader.has.pop(_known(gone), None)
        for name in reader.at:
            if name not in self._running:
                self._woken[name] = asyncio.Event()
                self._running[name] = asyncio.get_running_loop().create_task(self._run(self.views[name]))
            elif name not in before or agent != agent_before:
                self._woken[name].set()

    def close(self, reader: PageReader) -> None:
        """This page is gone."""
        self.readers.discard(reader)
        reader.at = frozenset()
        reader.end()
        for name in list(self._running):
            if not self._looking(name):
                self._running.pop(name).cancel()
                self.views[name].left()

    def say(self, what: object) -> None:
        """Tell all pages something, at once."""
        text = msgspec.json.encode(what)
        for reader in self.readers:
            reader.put(text)

    def _looking(self, name: str) -> list[PageReader]:
        return [reader for reader in self.readers if name in reader.at]

    async def _run(self, view: PageView) -> None:
        loop, woken, problem = asyncio.get_running_loop(), self._woken[view.name], ""
        while readers := self._looking(view.name):
            woken.clear()
            began = loop.time()
            try:
                await view.tell(readers)
                if problem:
                    problem = _solved(readers, view.name)
            except ThreeModeError as error:
                problem = _told(readers, view.name, error.message, problem)
            except Exception as error:
                log.exception("the view %r of the page failed", view.name)
                problem = _told(readers, view.name, f"{type(error).__name__}; see the log of the endpoint", problem)
            wait = max(0.05, view.every - (loop.time() - began))
            try:
                await asyncio.wait_for(woken.wait(), wait)
            except TimeoutError:
                pass
        if self._running.get(view.name) is asyncio.current_task():
            del self._running[view.name]
            view.left()


def _told(readers: Sequence[PageReader], view: str, why: str, before: str) -> str:
    """Tell pages what is wrong with a view, unless they know; new ones learn it as well."""
    text, known = _problem(view, why), _known(view)
    for reader in readers:
        if why != before or known not in reader.has:
            reader.put(text)
            reader.has[known] = 1
    return why


def _solved(readers: Sequence[PageReader], view: str) -> str:
    """Tell pages that nothing is wrong with a view any more."""
    text = _problem(view, "")
    for reader in readers:
        reader.has.pop(_known(view), None)
        reader.put(text)
    return ""


def _problem(view: str, why: str) -> bytes:
    return msgspec.json.encode({"kind": "problem", "view": view, "why": why})


def _known(view: str) -> str:
    return f"problem of {view}"
