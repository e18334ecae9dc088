"""Answer of one call, in the engine of a Hugging Face model: its prompt, its KV cache, what is written so far."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from local_models.errors import LocalModelError
from local_models.options import Generate
from local_models.replies import Finish, Piece, TokenScore, Usage
from local_models.transformers.sampling import Chooser
from local_models.transformers.text import TokenText

Item = Piece | LocalModelError


@dataclass(slots=True, eq=False)
class OpenAnswer:
    """Answer of one call. `agent`, `priority` and `arrival` are what the queue orders calls by."""

    prompt: list[int]
    options: Generate
    text: TokenText
    deliver: Callable[[Item], None]  # from any thread
    pieces: bool  # False: the caller wants the whole answer at once
    asked: float  # seconds of `time.monotonic`, as all times here
    deadline: float
    agent: str
    priority: int
    arrival: int
    chooser: Chooser
    cache: Any = None
    fed: int = 0  # tokens of the prompt that are in the cache
    written: list[int] = field(default_factory=list)
    seated: float = 0.0  # it left the queue
    first_token: float = 0.0
    cancelled: bool = False
    held_text: list[str] = field(default_factory=list)
    held_scores: list[TokenScore] = field(default_factory=list)

    def stage(self) -> str:
        """Returns the stage of the call, for `DeadlineExceeded`."""
        return "decode" if self.first_token else "prefill" if self.seated else "queue"

    def next_tokens(self, most: int) -> list[int]:
        """Returns the tokens of the next step: a part of the prompt, or the last token of the answer."""
        if self.fed < len(self.prompt):
            return self.prompt[self.fed : self.fed + most]
        return self.written[-1:]

    def show(self, token: int, score: TokenScore | None) -> None:
        """Adds a token to the answer, and delivers its text if the caller wants pieces."""
        self.written.append(token)
        text, scores = self.text.feed(token), (score,) if score is not None else ()
        if self.pieces:
            self.deliver(Piece(text=text, tokens=(token,), scores=scores))
        else:
            self.held_text.append(text)
            self.held_scores += scores

    def finish(self, why: Finish) -> None:
        """Delivers the last piece."""
        now = time.monotonic()
        self.deliver(
            Piece(
                text="".join(self.held_text) + self.text.end(),
                tokens=() if self.pieces else tuple(self.written),
                scores=tuple(self.held_scores),
                finish=why,
                usage=Usage(
                    prompt_tokens=len(self.prompt),
                    completion_tokens=len(self.written),
                    queued_seconds=(self.seated or now) - self.asked,
                    first_token_seconds=(self.first_token or now) - self.asked,
                    total_seconds=now - self.asked,
                ),
            )
        )
