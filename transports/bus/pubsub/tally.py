"""Count a receipt: the verdict of each subscribed member on a message, weighed by its subscriptions. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from transports.bus.directory import Directory
from transports.bus.events import MemberInfo
from transports.bus.receipt import Settled
from transports.bus.topics import count_matching


@dataclass(frozen=True, slots=True)
class Departed:
    """A member that has gone, for receipts of earlier messages."""

    info: MemberInfo
    """The member."""
    patterns: dict[str, int]
    """Patterns that it subscribed to, and how many times each."""
    at: float
    """Time of its end, on time.monotonic()."""
    verdict: str
    """Verdict on any message: "seen" or "lost" if that is known, else "lagging"."""


def tally(
    directory: Directory,
    topic: str,
    published: float,
    verdicts: Mapping[str, str],
    departed: Iterable[Departed],
) -> Settled:
    """Count one message. `verdicts` holds "seen" or "lost" by member; all other members lag."""
    counts = {"seen": 0, "lagging": 0, "lost": 0, "dead": 0}
    members: dict[str, list[str]] = {"seen": [], "lagging": [], "lost": [], "dead": []}

    def count(member: str, verdict: str, subscribers: int) -> None:
        if subscribers:
            counts[verdict] += subscribers
            members[verdict].append(member)

    for member in directory.members:
        count(member, verdicts.get(member, "lagging"), directory.subscribers(member, topic))
    for gone in departed:
        if gone.at >= published:
            verdict = verdicts.get(gone.info.id, gone.verdict)
            subscribers = count_matching(gone.patterns.items(), topic)
            count(gone.info.id, "dead" if verdict == "lagging" else verdict, subscribers)
    return Settled(
        **counts,
        lagging_members=tuple(members["lagging"]),
        lost_members=tuple(members["lost"]),
        dead_members=tuple(members["dead"]),
    )
