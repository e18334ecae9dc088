"""Counting a receipt: what each subscribed member says about a message, weighed by its subscriptions. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from transports.bus.directory import Directory
from transports.bus.events import MemberInfo
from transports.bus.receipt import Settled
from transports.bus.topics import count_matching


@dataclass(frozen=True, slots=True)
class Departed:
    """A member that is gone, for receipts of what was published before: "seen" or "lost" if that is known."""

    info: MemberInfo
    patterns: dict[str, int]
    at: float
    verdict: str


def tally(
    directory: Directory,
    topic: str,
    published: float,
    verdicts: Mapping[str, str],
    departed: Iterable[Departed],
) -> Settled:
    """`verdicts`: member -> "seen" or "lost"; who is not in it lags."""
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
