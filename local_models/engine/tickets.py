"""Tickets: the state of a call in the engine; and the totals of all calls."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from local_models.engine.images import ImageAt
from local_models.engine.text import AnswerText
from local_models.errors import LocalModelError
from local_models.llama import Sampler, Sampling, Weights
from local_models.options import Generate
from local_models.replies import Finish, Piece, TokenScore, Usage
from local_models.scheduling.plan import ScheduledCall

Item = Piece | LocalModelError
Post = Callable[[list[tuple["Ticket", Item]]], None]
"""Takes the pieces of a step, on the engine's thread, to the event loop of their callers."""


@dataclass(slots=True, eq=False)
class Ticket:
    """A call in the engine: its request, its scheduled call, and the parts of its answer that were not delivered."""

    tokens: list[int]
    options: Generate
    sampling: Sampling
    post: Post
    deliver: Callable[[Item], None]
    pieces: bool  # False: the caller wants the whole answer at once
    asked: float  # seconds of `time.monotonic`, as all times here
    deadline: float
    call: ScheduledCall | None = None
    text: AnswerText = field(default_factory=AnswerText)
    sampler: Sampler | None = None
    images: Sequence[ImageAt] = ()  # in the prompt
    whole_only: bool = False  # the answer is delivered whole and its text cannot end it: text is made at the end
    seated: float = 0.0  # the call got its slot
    first_token: float = 0.0  # its first token was sampled
    held_text: list[str] = field(default_factory=list)
    held_tokens: list[int] = field(default_factory=list)
    held_scores: list[TokenScore] = field(default_factory=list)
    ended: bool = False

    def stage(self) -> str:
        """Returns the stage of the call, for `DeadlineExceeded`."""
        if self.first_token:
            return "decode"
        return "queue" if self.call is None or self.call.slot < 0 else "prefill"

    def last_piece(self, weights: Weights, finish: Finish, now: float) -> Piece:
        """Returns the last piece, with all that was not delivered before."""
        call = self.call
        assert call is not None
        if self.whole_only:
            self.held_tokens, shown = call.tokens[call.prompt :], self.sampling.shown
            pieces: Iterable[bytes] = map(weights.piece, self.held_tokens)
            if shown:
                pieces = (piece or shown.get(token, b"") for piece, token in zip(pieces, self.held_tokens, strict=True))
            self.held_text.append(self.text.feed(b"".join(pieces)))
        return Piece(
            text="".join(self.held_text) + self.text.end(),
            tokens=tuple(self.held_tokens),
            scores=tuple(self.held_scores),
            finish=finish,
            usage=Usage(
                prompt_tokens=call.prompt,
                reused_tokens=call.reused,
                completion_tokens=call.written,
                queued_seconds=(self.seated or now) - self.asked,
                first_token_seconds=(self.first_token or now) - self.asked,
                total_seconds=now - self.asked,
                preemptions=call.preemptions,
            ),
        )


@dataclass(slots=True)
class Totals:
    """Counts of all calls and steps of an engine; times in seconds."""

    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    completion_tokens: int = 0
    proposed_tokens: int = 0
    accepted_tokens: int = 0
    steps: int = 0
    decode_seconds: float = 0.0
    engine_seconds: float = 0.0
