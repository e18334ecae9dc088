"""The page of one endpoint: its feed, and what becomes of it while somebody looks."""

from typing import Any

import three_mode
from three_mode.page.content import PageContent
from three_mode.page.feed import Feed
from three_mode.page.system import System
from three_mode.page.views.map import MapView
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.faults import EndpointFault, fault


class LivePage:
    """What the page shows of the endpoint's bus or recording."""

    def __init__(self, endpoint: EndpointState, content: PageContent) -> None:
        self.endpoint, self.content = endpoint, content
        self.system = None if content.bus is None else System(content.bus)
        self.feed = Feed([] if self.system is None else [MapView(self.system)])

    @property
    def may_steer(self) -> bool:
        """Whether those who are let in may steer: they have given a key."""
        return self.system is not None and bool(self.endpoint.options.api_keys)

    async def about(self) -> dict[str, Any]:
        """What a page learns first."""
        bus = self.content.bus
        return {
            "bus": "" if bus is None else bus.name,
            "recording": "" if self.content.recording is None else self.content.recording.name,
            "version": three_mode.__version__,
            "may_steer": self.may_steer,
            "views": sorted(self.feed.views),
        }


def live_page(endpoint: EndpointState) -> LivePage:
    """The page of an endpoint that has one, for `EndpointState.shared`."""
    assert endpoint.page is not None
    return LivePage(endpoint, endpoint.page)


def no_page() -> EndpointFault:
    """The answer where there is nothing to show."""
    return fault(404, "this endpoint shows no page: it has no bus; --bus NAME, or `three-mode watch`", "no_such_path")
