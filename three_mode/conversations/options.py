"""Options of conversations."""

from decimal import Decimal
from typing import Literal

from three_mode.conversations.window import Window
from three_mode.errors import ConfigurationError
from three_mode.frozen_options import FrozenOptions


class Compaction(FrozenOptions, frozen=True, kw_only=True):
    """How older turns become a summary. The turns stay in the log; the summary stands for them in the window."""

    model: str  #: the model that writes summaries: as `LLMRequest.model`
    within: float = 30.0  #: deadline of one summary, in seconds
    max_tokens: int = 500  #: most tokens of one summary
    keep_last: int = 4  #: last turns that are never summarised
    budget: int | None = None  #: most tokens, in and out, of all summaries of one conversation; None: no limit
    label: str = "compaction"  #: `metadata["label"]` of the calls, for budgets of the connection in dollars
    pause: int = 5  #: turns after a summary that failed before the next try

    def __post_init__(self) -> None:
        if not self.model or self.within <= 0 or self.max_tokens < 1 or self.keep_last < 1 or self.pause < 0:
            raise ConfigurationError(
                "compaction names a model, and has a deadline above 0 s and room for at least 1 token and 1 turn"
            )


class ConversationOptions(FrozenOptions, frozen=True, kw_only=True):
    """How conversations go on. Each may differ: `open(..., window=)` and the like."""

    window: Window = Window()  #: how much each request shows: tokens, messages, and the share that sets off a summary
    compaction: Compaction | None = None  #: how older turns are summarised; None: they are only left out
    auto_summarise: bool = True  #: summarises by itself where `compaction` is given; False: only `Talk.compact` does
    use_memory: bool = True  #: asks the memory that `open` is given before each turn
    use_persona: bool = True  #: lets the persona that `open` is given change the system message
    use_tools: bool = True  #: runs the tools that `open` is given; False: the model is not shown them
    most_rounds: int = 5  #: most calls of the model in one turn with tools, where the connection runs the tools
    tools_at_once: int | None = None  #: most tools that run side by side, 1: one after another; None: as `Tools` says
    most_calls: int | None = None  #: most calls of tools in one reply that run; None: as `Tools` says
    #: US dollars of one turn with tools, after which no round begins; where nobody knows the price, the turn ends after
    #: its first round; None: no limit
    budget: Decimal | float | None = None
    at_once: Literal["wait", "refuse"] = "wait"  #: a second turn of one conversation waits for the first, or is refused
    #: a turn that a crash cut: taken back by the next `say`, answered first, or `TurnCutShort` is raised
    on_cut: Literal["undo", "resume", "refuse"] = "undo"
    max_tokens: int | None = None  #: most tokens of an answer; None: the connection's default
    within: float | None = None  #: deadline of a turn, all in, in seconds; None: that of the connection for the call
    wait: float = 60.0  #: seconds that a turn waits for another one of the same conversation
    busy: float = 5.0  #: seconds that a write waits for other processes that write to the file
    durable: bool = False  #: forces each turn to the disk: it then survives a power cut, and costs milliseconds

    def __post_init__(self) -> None:
        counts = (self.most_rounds, self.tools_at_once, self.most_calls)
        if any(count is not None and count < 1 for count in counts) or self.wait < 0 or self.busy < 0:
            raise ConfigurationError(
                "most_rounds, tools_at_once and most_calls are at least 1, wait and busy are at least 0 s"
            )
        if self.budget is not None and not self.budget > 0:
            raise ConfigurationError(f"budget is above 0, not {self.budget}")
        if self.at_once not in ("wait", "refuse") or self.on_cut not in ("undo", "resume", "refuse"):
            raise ConfigurationError("at_once is wait or refuse; on_cut is undo, resume or refuse")
