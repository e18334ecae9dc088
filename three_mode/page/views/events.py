"""Events: what happened to hosts and agents, dead letters, gaps, receipts, and what was steered. The newest last."""

import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from three_mode.agents.supervisor.events import SupervisorEvent
from three_mode.agents.wire.dead_letters import DeadLetter
from three_mode.agents.wire.orders import Table
from three_mode.agents.wire.watching import ReceiptSight, WatchOrder, WatchReport
from three_mode.page.kept_rows import KEPT, KeptRows
from three_mode.page.readers import PageReader
from three_mode.page.system import WatchedSystem

_OVERLAP = 2.0  # seconds that are asked for again: clocks of processes and ways of messages differ
_LONGEST = 2000  # characters of a text


ReceiptParts = dict[tuple[str, int], list[tuple[str, ReceiptSight]]]


class PageEvent(msgspec.Struct, frozen=True):
    """One row of the list."""

    when: float
    what: str
    """host_lost, agent_restarted, dead_letter, gap, receipt, steered..."""
    agent: str
    text: str


class EventsView:
    """The list of events. A page gets what is kept, and then what is new."""

    name = "events"
    every = 1.0

    def __init__(self, system: WatchedSystem) -> None:
        self._system = system
        self._rows = KeptRows(self.name)
        self._known: deque[PageEvent] = deque(maxlen=2 * KEPT)
        self._seen: set[PageEvent] = set()
        self._since = 0.0
        self._gaps: dict[str, int] = {}
        self._receipts: dict[str, tuple[float, int]] = {}  # host -> when it began, and its last receipt
        self._parts: ReceiptParts = {}  # those of this time: other hosts may answer until the next

    def add(self, event: PageEvent) -> None:
        """Add an event of this process: something was steered."""
        self._rows.add((event.when, event.what, event.agent, event.text))

    async def tell(self, readers: Sequence[PageReader]) -> None:
        await self._look()
        self._rows.tell(readers)

    async def _look(self) -> None:
        """Ask for what is new."""
        began = time.time()
        events = await self._system.events(self._since)
        letters = await self._system.letters(self._since)
        reports = await self._system.watch(WatchOrder())
        table = await self._system.table()
        found = [*map(of_event, events), *map(of_letter, letters), *self._new_receipts(reports), *self._new_gaps(table)]
        self._since = began - _OVERLAP
        for event in sorted((event for event in found if event not in self._seen), key=lambda event: event.when):
            self._remember(event)
            self.add(event)

    def _remember(self, event: PageEvent) -> None:
        if len(self._known) == self._known.maxlen:
            self._seen.discard(self._known[0])
        self._known.append(event)
        self._seen.add(event)

    def _new_receipts(self, reports: Sequence[WatchReport]) -> list[PageEvent]:
        """Receipts that somebody asked for, each of all hosts together that have answered by now."""
        before, self._parts = self._parts, {}
        left_out = 0
        for report in reports:
            began, last = self._receipts.get(report.host, (report.began, 0))
            last = last if began == report.began else 0
            new = [one for one in report.receipts if one.number > last]
            for one in new:
                key = (one.member, one.seq)
                (before if key in before else self._parts).setdefault(key, []).append((report.host, one))
            left_out = max(left_out, report.last_receipt - last - len(new))
            self._receipts[report.host] = (report.began, report.last_receipt)
        more = [PageEvent(time.time(), "receipt", "", f"{left_out} more receipts")] if left_out else []
        return [*map(of_receipt, before.values()), *more]

    def _new_gaps(self, table: Table) -> list[PageEvent]:
        """Broadcasts that agents have missed since the table before."""
        before, self._gaps = self._gaps, {agent.name: agent.gaps for agent in table.agents}
        found: dict[str, list[tuple[str, int]]] = {}
        for agent in table.agents:
            missed = agent.gaps - before.get(agent.name, 0)
            if missed > 0:
                found.setdefault(agent.host, []).append((agent.name, missed))
        return [
            PageEvent(table.when, "gap", names[0][0], f"{len(names)} agents of {host} missed {names[0][1]} broadcasts")
            for host, names in found.items()
        ]

    def left(self) -> None:
        self._receipts.clear()
        self._parts = {}


def of_event(event: SupervisorEvent) -> PageEvent:
    """A row for an event of the supervisor."""
    agents: Any = getattr(event, "agents", None)
    several = agents[0] if isinstance(agents, tuple) and agents else ""
    about = getattr(event, "agent", "") or several or getattr(event, "host", "") or getattr(event, "node", "")
    return PageEvent(event.when, _words(type(event).__name__), str(about), str(event)[:_LONGEST])


def of_letter(letter: DeadLetter) -> PageEvent:
    """A row for a dead letter; its content is there where the program allows it to be shown."""
    content = ""
    if letter.payload:
        try:
            content = f": {msgspec.json.encode(msgspec.msgpack.decode(letter.payload)).decode()}"
        except Exception:  # noqa: BLE001  # it may be cut short
            content = f": {letter.payload[:200]!r}"
    return PageEvent(letter.when, "dead_letter", letter.to, f"{letter}{content}"[:_LONGEST])


def of_receipt(said: Sequence[tuple[str, ReceiptSight]]) -> PageEvent:
    """A row for the receipt of one broadcast: what these hosts have said."""
    hosts, parts = sorted(host for host, _ in said), [part for _, part in said]
    agents, late = sum(part.agents for part in parts), sum(part.late for part in parts)
    lost, failed = sum(part.lost for part in parts), sum(part.failed for part in parts)
    text = f"{parts[0].topic}: {max(0, agents - late - lost)} of {agents} agents have seen it"
    more = [f"{count} {what}" for count, what in ((late, "lag"), (lost, "lost it"), (failed, "failed")) if count]
    return PageEvent(parts[0].when, "receipt", ", ".join(hosts), ", ".join([text, *more]))


def _words(name: str) -> str:
    """`HostLost` as host_lost."""
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).strip("_")
