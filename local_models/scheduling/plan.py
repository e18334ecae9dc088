"""Plan of a step: the rows that are decoded, the edits of the KV cache before them, and the calls that they are of."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerLimits:
    """Limits of a scheduler."""

    slots: int  #: calls that run at once
    slot_tokens: int  #: most tokens of one call
    pool_tokens: int  #: most tokens of all calls
    batch: int  #: most tokens in a step
    queue: int = 4096  #: most waiting calls
    unified: bool = False  #: True: all slots share one pool of cells
    shares: bool = True  #: False: this model cannot drop a part of a text, so no tokens are re-used
    prefix_tokens: int = 1 << 60  #: most tokens kept of finished calls
    worth: int = 24  #: least tokens for which to wait for another call's reading, or to copy within a pool
    many: int = 8  #: least calls in a step of the split layout that do not wait for the last tokens of a prompt


@dataclass(slots=True, eq=False)
class ScheduledCall:
    """One request, from the queue to its end."""

    tokens: list[int]
    room: int  # most tokens that it may write
    agent: str = ""
    priority: int = 0
    arrival: int = 0  # number of the call, in order of arrival
    prompt: int = 0  # tokens of the prompt
    computed: int = 0  # tokens in the KV cache
    reused: int = 0  # tokens of the prompt that were in the KV cache already
    preemptions: int = 0
    slot: int = -1  # -1: it waits
    charged: int = 0  # tokens charged to its agent
    spent: int = 0  # tokens computed or written
    leader: "ScheduledCall | None" = None  # running call that reads the beginning which this call waits to copy
    share: int = 0  # tokens of that beginning
    seeded: bool = False  # a seed was given: while it runs alone, it is answered the same each time
    lag: int = 0  # positions that it takes less than tokens so far, as rows of images may share one; set by the engine
    restoring: int = 0  # tokens that are being restored from outside the KV cache, for which the call waits

    @property
    def left(self) -> int:
        """Tokens that are still to be computed."""
        return len(self.tokens) - self.computed

    @property
    def written(self) -> int:
        """Tokens of the answer so far."""
        return len(self.tokens) - self.prompt


@dataclass(frozen=True, slots=True)
class Copy:
    """Edit: the target slot becomes a copy of the source."""

    source: int
    target: int


@dataclass(frozen=True, slots=True)
class Keep:
    """Edit: the slot drops its tokens from `length` on."""

    slot: int
    length: int


@dataclass(slots=True)  # not frozen: that takes three times as long to make, and there is a row for each token
class Row:
    """Tokens of one call in a step: `count` of them from position `start`, then those that are `proposed`.

    Proposed tokens are a guess at what the call writes next. They are computed too, so that each may be found right or
    wrong, and belong to the call once the engine has `accept`ed them.
    """

    call: ScheduledCall
    start: int
    count: int
    proposed: Sequence[int] = ()

    @property
    def samples(self) -> bool:
        """Whether the row computes the last token, so that the next one is sampled."""
        return self.start + self.count == len(self.call.tokens)


@dataclass(slots=True)
class StepPlan:
    """Work of one step: edits of the KV cache, then rows to decode."""

    edits: list[Copy | Keep] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    reads: list[tuple[int, int]] = field(default_factory=list)  # position and count of the tokens of each reader
    riders: int = 0  # readers of a token each, which is computed together with those of the writers
    tokens: int = 0
    proposed: int = 0  # tokens that are proposed in all rows, besides `tokens`
    seated: list[ScheduledCall] = field(default_factory=list)  # calls that were admitted for this step
    full: list[ScheduledCall] = field(default_factory=list)  # calls that must end: they fill the KV cache alone


@dataclass(slots=True)
class Counts:
    """Counts of a scheduler since its start."""

    preempted: int = 0
    reused_tokens: int = 0
    evicted_tokens: int = 0
    displaced: int = 0  # texts worth keeping that went because no slot was empty
    refused: int = 0
