"""State of the batches at a scripted provider: its files, its batches, and how they end. No wire format."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from three_mode.testing.script import Answer, Seen
from three_mode.testing.wire.anthropic import error as anthropic_error
from three_mode.testing.wire.events import document, encode
from three_mode.testing.wire.openai import error as openai_error

Ending = Literal["expired", "cancelled"]
DAY = 24 * 3600


@dataclass(slots=True)
class ScriptedRequest:
    """One request of a batch."""

    custom_id: str  #: the client's name for it
    body: dict[str, Any]  #: body of the request, as that of a live one
    path: str  #: path that a live request has


@dataclass(slots=True)
class ScriptedBatch:
    """A batch at the scripted provider."""

    id: str  #: its id
    requests: list[ScriptedRequest]  #: its requests, in the order of the client
    said: dict[str, Any]  #: what the client said of it: file, window and metadata
    created_at: float  #: when it was made, in Unix time
    cancelling: bool = False  #: whether it is being cancelled
    ended: bool = False  #: whether it has ended
    ended_at: float = 0.0  #: when it ended, in Unix time
    answers: dict[str, Answer] = field(default_factory=dict)  #: answers by custom id
    rest: Ending | None = None  #: how requests without an answer ended
    problems: tuple[dict[str, Any], ...] = ()  #: why it was refused as a whole, as OpenAI says it
    lines: dict[str, list[bytes]] = field(default_factory=dict)  #: results, by the id of their file


class BatchState:
    """Files and batches of a scripted provider."""

    def __init__(self, answer: Callable[[Seen], Answer], url: Callable[[], str]) -> None:
        """`answer` gives the answer to one request, as the script of the provider says; `url` is the provider's."""
        self._answer, self.url = answer, url
        self.files: dict[str, bytes] = {}  #: contents of files, by id
        self.made: list[ScriptedBatch] = []  #: every batch so far, oldest first
        self.at_once = False  #: whether batches end as soon as they are made
        #: the lines of results as they go out; out of order unless a test says otherwise
        self.arrange: Callable[[list[bytes]], Sequence[bytes]] = lambda lines: lines[::-1]
        self._numbers = 0

    def finish(self, *, answered: int | None = None, rest: Ending = "expired") -> None:
        """Ends all batches: the first `answered` requests of each are answered, all where None, and the rest not."""
        for batch in self.made:
            if not batch.ended:
                self._end(batch, len(batch.requests) if answered is None else answered, rest)

    def fail(self, *problems: dict[str, Any]) -> None:
        """Refuses all batches that have not ended, as OpenAI does: `{"code": ..., "message": ..., "line": 1}`."""
        for batch in self.made:
            if not batch.ended:
                batch.ended, batch.ended_at, batch.problems = True, time.time(), problems

    # --- for the wire formats ---

    def new_id(self, kind: str) -> str:
        """A new id."""
        self._numbers += 1
        return f"{kind}_{self._numbers:06d}"

    def add(self, batch: ScriptedBatch) -> None:
        """Adds a batch that was made."""
        self.made.append(batch)
        if self.at_once:
            self.finish()

    def batch(self, name: str) -> ScriptedBatch | None:
        """A batch by its id."""
        return next((batch for batch in self.made if batch.id == name), None)

    def end_cancelled(self, batch: ScriptedBatch) -> None:
        """Ends a batch that is being cancelled; nothing of it was answered."""
        self._end(batch, 0, "cancelled")

    def _end(self, batch: ScriptedBatch, answered: int, rest: Ending) -> None:
        for request in batch.requests[:answered]:
            asked = Seen(
                number=-1,
                method="POST",
                path=request.path,
                headers={},
                http_version="",
                connection=-1,
                stream=-1,
                body=encode(request.body),
            )
            batch.answers[request.custom_id] = self._answer(asked)
        batch.ended, batch.ended_at = True, time.time()
        batch.rest = rest if answered < len(batch.requests) else None


def refused(seen: Seen, status: int, message: str) -> Answer:
    """Refusal of a request, in the wire format of its path."""
    if "/messages/" in seen.path:
        kind = {401: "authentication_error", 404: "not_found_error"}.get(status, "invalid_request_error")
        return document(anthropic_error(message, kind), status=status)
    return document(openai_error(message, "invalid_request_error"), status=status)
