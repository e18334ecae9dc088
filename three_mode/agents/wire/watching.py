"""What somebody who looks on asks, and is told: flows between groups, one agent's messages, receipts, log records."""

import msgspec

from three_mode.agents.wire.dead_letters import DeadLetter

WATCHED_FOR = 3.0  # seconds that a host counts after it was last asked


class WatchOrder(msgspec.Struct, frozen=True):
    """Count for a while, and say what has been counted so far."""

    flows: bool = False
    """Whether messages between groups are counted."""
    agent: str = ""
    """Agent that is looked at; empty: none."""
    requests: int = 0
    """Of so many requests one is sampled; 0: none."""
    since: float = 0.0
    """Only turns that ended since then are told, by the monotonic clock of the machine."""
    within: float = WATCHED_FOR
    """Seconds until the order is given again, at the latest."""


class HandlerSight(msgspec.Struct, frozen=True):
    """One handler of an agent that is looked at."""

    name: str
    file: str
    line: int
    topics: tuple[str, ...] = ()
    """Broadcasts that it listens to."""
    streams: bool = False
    count: int = 0
    """Messages that it has begun with since somebody looks."""
    errors: int = 0
    p50: float | None = None
    """Median of the seconds of a message, those that it waited in the mailbox not counted; None without one."""
    p99: float | None = None


class MessageSight(msgspec.Struct, frozen=True):
    """One message to an agent that is looked at, or one of its errors."""

    when: float
    """Seconds since the epoch."""
    sender: str
    handler: str
    size: int
    """Bytes of its content."""
    outcome: str
    """running, done, cancelled, refused, or the error."""
    seconds: float | None = None
    content: str = ""
    """What it says, cut short; empty where the program does not allow it to be shown."""


class AgentSight(msgspec.Struct, frozen=True):
    """An agent that is looked at."""

    name: str
    kind: str
    file: str
    line: int
    """Where its class is written."""
    since: float
    """Seconds since the epoch from which messages are counted."""
    limit: int
    """Messages that its mailbox takes."""
    waiting: tuple[MessageSight, ...]
    """The first messages of its mailbox."""
    handlers: tuple[HandlerSight, ...]
    messages: tuple[MessageSight, ...]
    """The last messages, the newest first."""
    errors: tuple[MessageSight, ...]


class ReceiptSight(msgspec.Struct, frozen=True):
    """What one host said to whoever asked for the receipt of a broadcast."""

    number: int
    """Of the receipts of this host."""
    when: float
    member: str
    seq: int
    """With `member`: which broadcast."""
    topic: str
    agents: int
    late: int
    lost: int
    failed: int


class WaitSight(msgspec.Struct, frozen=True, array_like=True):
    """Something that a turn, or a call to a model, waited for. Times are of the monotonic clock."""

    what: str
    """limiter, retry, network, or model queue."""
    begin: float
    end: float


class AskSight(msgspec.Struct, frozen=True, array_like=True):
    """A message of a turn of a sampled request, for whose answer it waited. Times are of the monotonic clock."""

    to: str
    handler: str
    begin: float
    end: float
    error: str
    """Class of the error; empty: none."""


class ModelSight(msgspec.Struct, frozen=True, array_like=True):
    """A call to a model in a turn of a sampled request. Times are of the monotonic clock."""

    model: str
    provider: str
    begin: float
    end: float
    tokens: int
    cost: float
    """US dollars."""
    error: str
    """Class of the error; empty: none."""
    waits: tuple[WaitSight, ...] = ()


class TurnSight(msgspec.Struct, frozen=True, array_like=True):
    """A turn of a sampled request. Times are of the monotonic clock, which all processes of a machine share."""

    number: int
    """Of the turns of this host."""
    agent: str
    turn: int
    chain: str
    """Turns that waited for it, `scout/1:7>judge/0:2`; empty: it is the first of its request."""
    handler: str
    sender: str
    queued: float
    """When it came; `begin` where it did not wait in the mailbox."""
    begin: float
    end: float
    deadline: float | None
    error: str
    """Class of the error, or "cancelled"; empty: none."""
    models: tuple[ModelSight, ...] = ()
    waits: tuple[WaitSight, ...] = ()
    """What it waited for in no call to a model that is listed: a turn of an agent that is a model."""
    asks: tuple[AskSight, ...] = ()


class WatchReport(msgspec.Struct, frozen=True):
    """Answer to a `WatchOrder`."""

    host: str
    began: float
    """Seconds since the epoch at which counting began; another number means that counts began anew."""
    flows: tuple[tuple[str, str, int], ...] = ()
    """Sender's group, receiver's group, messages since `began`."""
    agent: AgentSight | None = None
    receipts: tuple[ReceiptSight, ...] = ()
    """The last ones that are kept."""
    last_receipt: int = 0
    """Number of receipts since `began`."""
    turns: tuple[TurnSight, ...] = ()
    """Turns of sampled requests, of those that are kept."""
    messages: int = 0
    """Messages to agents since `began`, but for broadcasts."""


class LogLevelOrder(msgspec.Struct, frozen=True):
    """Give a logger of the program and of all its hosts a level."""

    logger: str
    level: int
    why: str = ""


class SinceOrder(msgspec.Struct, frozen=True):
    """Say what has happened since then; `when` is in seconds since the epoch."""

    when: float = 0.0


class NewLetters(msgspec.Struct, frozen=True):
    """Dead letters since a moment, the oldest first."""

    letters: tuple[DeadLetter, ...]


class AboutSystem(msgspec.Struct, frozen=True):
    """What an orchestrator says of itself to those who look on."""

    version: str
    content: bool
    """Whether the content of messages may be shown."""


class LogsOrder(msgspec.Struct, frozen=True):
    """Keep log records for a while, and say which came since a number."""

    began: float = 0.0
    """`LogsReport.began` that the number belongs to."""
    after: int = 0
    within: float = WATCHED_FOR
    """Seconds until the order is given again, at the latest."""


class LogSight(msgspec.Struct, frozen=True, array_like=True):
    """A log record of the program or of one of its hosts."""

    number: int
    when: float
    """Seconds since the epoch."""
    level: int
    logger: str
    host: str
    """Label of the host; empty: the orchestrator's own process."""
    agent: str
    """Agent that logged it, from a handler; empty: none."""
    text: str
    """What it says, cut short."""
    place: str
    """File and line, as `scout.py:12`."""
    traceback: str = ""
    """The end of the traceback, where it has one."""


class LogsReport(msgspec.Struct, frozen=True):
    """Answer to a `LogsOrder`."""

    began: float
    """Seconds since the epoch at which records were first kept; another number means that they are numbered anew."""
    last: int
    """Number of the last record."""
    records: tuple[LogSight, ...] = ()
    """The oldest first."""
    lost: int = 0
    """Records since that number that are not kept any more."""
