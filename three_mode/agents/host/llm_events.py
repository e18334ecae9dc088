"""Events of the calls that agents of a host make with `self.llm`, sent to the orchestrator while somebody listens."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from three_mode.agents.calling.session import Session
from three_mode.agents.host.forwarding import EventForwarder

if TYPE_CHECKING:
    from three_mode.events.values import LLMEvent


class LLMEventForwarder(EventForwarder["LLMEvent"]):
    """Listens to the connection of a session, and sends what it hears."""

    def __init__(self, session: Session, label: str) -> None:
        super().__init__(session, label, "llm_events", _gap, lambda _: session.when_llm(self._hear))
        self._leave: Callable[[], None] | None = None

    def _hear(self, llm: Any) -> None:
        """Listen to the connection, which was made just now or before."""
        if self._leave is not None:
            self._leave()
            self._leave = None
        if self._kinds and not llm.event_hub.closed:
            self._leave = llm.event_hub.listen(self.take, self._kinds)


def _gap(count: int) -> "LLMEvent":
    from three_mode.events.values import EventGap  # once somebody has listened, it is loaded

    return EventGap(time=time.time(), count=count)
