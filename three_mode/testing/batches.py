"""Batches at the scripted provider: the endpoints of OpenAI and of Anthropic, with their state in the provider.

    provider.batches.finish()                               what was submitted is answered, as the script says
    provider.batches.finish(answered=2, rest="expired")     two of each batch are, and the rest expire
    provider.batches.next("create", fault=Fault(cut_after=0))       the batch is made, and its answer lost
    provider.batches.next("retrieve", overloaded(), times=3)

Results come in reverse order: a client that counts on their order fails.
"""

import re
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Literal

from three_mode.testing.batch_state import BatchState, refused
from three_mode.testing.script import NO_FAULT, Answer, Fault, Seen
from three_mode.testing.wire import anthropic_batches, openai_batches

Action = Literal["upload", "create", "retrieve", "cancel", "list", "results"]
_ROUTES: tuple[tuple[str, re.Pattern[str], Action], ...] = (
    ("POST", re.compile(r"/files$"), "upload"),
    ("GET", re.compile(r"/files/(?P<id>[^/]+)/content$"), "results"),
    ("GET", re.compile(r"/messages/batches/(?P<id>[^/]+)/results$"), "results"),
    ("POST", re.compile(r"/batches/(?P<id>[^/]+)/cancel$"), "cancel"),
    ("GET", re.compile(r"/batches/(?P<id>[^/]+)$"), "retrieve"),
    ("POST", re.compile(r"/batches$"), "create"),
    ("GET", re.compile(r"/batches$"), "list"),
)


class ScriptedBatches(BatchState):
    """Files and batches of a scripted provider, and the script of their endpoints."""

    def __init__(self, answer: Callable[[Seen], Answer], url: Callable[[], str]) -> None:
        super().__init__(answer, url)
        self._script: dict[Action, deque[tuple[Answer | None, Fault]]] = defaultdict(deque)

    def next(self, action: Action, answer: Answer | None = None, *, fault: Fault = NO_FAULT, times: int = 1) -> None:
        """Queues what happens to the next requests of an action: an answer in its place, or a fault of its response."""
        self._script[action].extend([(answer, fault)] * times)

    # --- for the provider ---

    def respond(self, seen: Seen) -> tuple[Answer, Fault] | None:
        """Answers a request to an endpoint of batches; None for any other."""
        path = seen.path.partition("?")[0]
        for method, pattern, action in _ROUTES:
            found = pattern.search(path) if method == seen.method else None
            if found is not None:
                queue = self._script[action]
                answer, fault = queue.popleft() if queue else (None, NO_FAULT)
                return answer or self._act(action, found.groupdict().get("id", ""), seen), fault
        return None

    def _act(self, action: Action, name: str, seen: Seen) -> Answer:
        wire = anthropic_batches if "/messages/" in seen.path else openai_batches
        if not {"x-api-key", "authorization"} & seen.headers.keys():
            return refused(seen, 401, "no key")
        answer: Answer = wire.ACTIONS[action](self, name, seen)
        return answer
