"""The page of one endpoint: its feed, and what becomes of it while somebody looks."""

import asyncio
import contextlib
import time
from typing import Any

import three_mode
from three_mode.connection import LLMConnection
from three_mode.errors import InvalidRequest, ThreeModeError
from three_mode.page.content import PageContent
from three_mode.page.feed import Feed, PageView
from three_mode.page.steering import UNKNOWN, Steer, steer
from three_mode.page.system import WatchedSystem
from three_mode.page.views.agent import AgentView
from three_mode.page.views.events import EventsView, PageEvent
from three_mode.page.views.flows import FlowsView
from three_mode.page.views.logs import LogsView
from three_mode.page.views.map import MapView
from three_mode.page.views.models import ModelsView
from three_mode.page.views.requests import RequestsView
from three_mode.serve.conversations import ConversationBackend
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.faults import EndpointFault, fault


class LivePage:
    """What the page shows of the endpoint's bus or recording."""

    def __init__(self, endpoint: EndpointState, content: PageContent) -> None:
        self.endpoint, self.content = endpoint, content
        self.system = None if content.bus is None else WatchedSystem(content.bus)
        self._events: EventsView | None = None
        self.requests: RequestsView | None = None
        views: list[PageView] = []
        if self.system is not None:
            self._events = EventsView(self.system)
            self.requests = RequestsView(self.system)
            views += [MapView(self.system), FlowsView(self.system), AgentView(self.system), self._events, self.requests]
            views += [LogsView(self.system), ModelsView(connection_of(endpoint.backend), content.bus)]
        self.feed = Feed(views)

    @property
    def may_steer(self) -> bool:
        """Whether those who are let in may steer: they have given a key."""
        return self.system is not None and bool(self.endpoint.options.api_keys)

    async def steer(self, what: Steer, who: str) -> None:
        """Do what somebody wants who may, and tell all pages."""
        if self.system is None or self._events is None:
            raise InvalidRequest("a recording cannot be steered")
        outcome = ""
        try:
            await steer(self.system, what, who)
        except asyncio.CancelledError:
            outcome = f", {UNKNOWN}"
            raise
        except Exception as error:
            outcome = f", which failed: {error}"
            raise
        finally:
            about = what.names[0] if what.names else ""
            self._events.add(PageEvent(time.time(), "steered", about, f"{what}, by {who}{outcome}"))

    async def about(self) -> dict[str, Any]:
        """What a page learns first."""
        bus, content, backend = self.content.bus, False, self.endpoint.backend
        if self.system is not None:
            with contextlib.suppress(ThreeModeError):  # there is no orchestrator now, or it is of another version
                content = (await self.system.about()).content
        return {
            "bus": "" if bus is None else bus.name,
            "recording": "" if self.content.recording is None else self.content.recording.name,
            "version": three_mode.__version__,
            "may_steer": self.may_steer,
            "content": content,
            "keeps_talks": isinstance(backend, ConversationBackend),
            "lists_talks": isinstance(backend, ConversationBackend) and backend.lists,
            "keyed": bool(self.endpoint.options.api_keys),
            "views": sorted(self.feed.views),
        }


def live_page(endpoint: EndpointState) -> LivePage:
    """The page of an endpoint that has one, for `EndpointState.shared`."""
    assert endpoint.page is not None
    return LivePage(endpoint, endpoint.page)


def connection_of(backend: object) -> LLMConnection | None:
    """The connection behind an endpoint, where it hands out one."""
    found = getattr(backend, "connection", None)
    return found if isinstance(found, LLMConnection) else None


def no_page() -> EndpointFault:
    """The answer where there is nothing to show."""
    return fault(404, "this endpoint shows no page: it has no bus; --bus NAME, or `three-mode watch`", "no_such_path")
