"""A call in the engine, from being asked to its last piece; and what all calls come to."""

from collections.abc import Callable
from dataclasses import dataclass, field

from local_models.engine.text import AnswerText
from local_models.errors import LocalModelError
from local_models.llama import Sampler, Sampling, Weights
from local_models.options import Generate
from local_models.replies import Finish, Piece, TokenScore, Usage
from local_models.scheduling.scheduler import ScheduledCall

Item = Piece | LocalModelError
Post = Callable[[list[tuple["Ticket", Item]]], None]  # takes a step's pieces to where the callers live


@dataclass(slots=True, eq=False)
class Ticket:
    """A call in the engine: what the caller asked, and what has come of it."""

    tokens: list[int]
    options: Generate
    sampling: Sampling
    post: Post
    deliver: Callable[[Item], None]
    pieces: bool  # False: the caller wants the whole answer at once
    asked: float
    deadline: float
    call: ScheduledCall | None = None
    text: AnswerText = field(default_factory=AnswerText)
    sampler: Sampler | None = None
    quiet: bool = False  # only the whole answer is wanted, and nothing in it can end it
    began: float = 0.0
    first: float = 0.0
    kept_text: list[str] = field(default_factory=list)
    kept_tokens: list[int] = field(default_factory=list)
    kept_scores: list[TokenScore] = field(default_factory=list)
    over: bool = False

    def stage(self) -> str:
        """Where it is, for an error that says when its time ran out."""
        if self.first:
            return "decode"
        return "queue" if self.call is None or self.call.slot < 0 else "prefill"

    def last(self, weights: Weights, finish: Finish, now: float) -> Piece:
        """The piece that ends it, with what was not handed out before."""
        call = self.call
        assert call is not None
        if self.quiet:
            self.kept_tokens = call.tokens[call.prompt :]
            self.kept_text.append(self.text.feed(b"".join(map(weights.piece, self.kept_tokens))))
        return Piece(
            text="".join(self.kept_text) + self.text.end(),
            tokens=tuple(self.kept_tokens),
            scores=tuple(self.kept_scores),
            finish=finish,
            usage=Usage(
                prompt_tokens=call.prompt,
                reused_tokens=call.reused,
                completion_tokens=call.written,
                queued_seconds=(self.began or now) - self.asked,
                first_token_seconds=(self.first or now) - self.asked,
                total_seconds=now - self.asked,
                preemptions=call.preemptions,
            ),
        )


@dataclass(slots=True)
class Totals:
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    expired: int = 0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    completion_tokens: int = 0
    steps: int = 0
    decode_seconds: float = 0.0
    engine_seconds: float = 0.0
