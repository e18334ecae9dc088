"""Who waits, and who is next: priority first, then the agent that was served least, then who came first. Pure.

Service is counted in tokens. A call is charged what it will probably take when it gets its place, or an agent with many calls would
get many places before the first is counted; what it did not take is given back. An agent that was away comes back at the level of those now being served: it can save up
nothing, and owes what it owed. A bounded number of absent agents is remembered.
"""

import heapq
from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

REMEMBERED = 4096


class QueuedCall(Protocol):
    """What is asked of a call."""

    agent: str
    priority: int
    arrival: int  # unique


CallT = TypeVar("CallT", bound=QueuedCall)


class _AgentQueue(Generic[CallT]):
    __slots__ = ("calls", "present", "service", "stamp")

    def __init__(self, service: float) -> None:
        self.service = service
        self.present = 0  # calls that wait or run
        self.calls: list[tuple[int, int, CallT]] = []  # heap of (-priority, arrival, call)
        self.stamp = 0  # of its one valid entry in the order; the others are dropped where they surface


class FairCallQueue(Generic[CallT]):
    def __init__(self) -> None:
        self._agents: dict[str, _AgentQueue[CallT]] = {}
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._order: list[tuple[int, float, int, str, int]] = []  # heap of (-priority, service, arrival, agent, stamp)
        self._gone: set[int] = set()  # arrivals of calls that left the queue by themselves
        self._level = 0.0
        self._waiting = 0
        self._stamps = 0

    def __len__(self) -> int:
        return self._waiting

    def service(self, agent: str) -> float:
        known = self._agents.get(agent)
        return known.service if known else self._absent.get(agent, 0.0)

    def arrive(self, call: CallT) -> None:
        """A call is new: its agent is present until as many calls have left."""
        agent = self._agents.get(call.agent)
        if agent is None:
            owed = self._absent.pop(call.agent, 0.0)
            agent = self._agents[call.agent] = _AgentQueue(max(owed, self._level))
        agent.present += 1
        self.wait(call)

    def wait(self, call: CallT) -> None:
        """The call is in the queue: new, or preempted (its old arrival then puts it before its agent's later calls)."""
        agent = self._agents[call.agent]
        heapq.heappush(agent.calls, (-call.priority, call.arrival, call))
        self._waiting += 1
        if agent.calls[0][2] is call:
            self._enter(call.agent, agent, call)

    def _enter(self, name: str, agent: _AgentQueue[CallT], call: CallT) -> None:
        self._stamps += 1
        agent.stamp = self._stamps
        heapq.heappush(self._order, (-call.priority, agent.service, call.arrival, name, agent.stamp))
        if len(self._order) > 4 * len(self._agents) + 64:  # mostly dropped entries that never surfaced
            self._order = [entry for entry in self._order if self._valid(entry)]
            heapq.heapify(self._order)

    def _valid(self, entry: tuple[int, float, int, str, int]) -> bool:
        agent = self._agents.get(entry[3])
        return agent is not None and agent.stamp == entry[4]

    def _top(self, agent: _AgentQueue[CallT]) -> CallT | None:
        while agent.calls and agent.calls[0][1] in self._gone:
            self._gone.discard(heapq.heappop(agent.calls)[1])
        return agent.calls[0][2] if agent.calls else None

    def peek(self) -> CallT | None:
        """The next call, left where it is."""
        while self._order:
            entry = self._order[0]
            if not self._valid(entry):
                heapq.heappop(self._order)
                continue
            agent = self._agents[entry[3]]
            call = self._top(agent)
            if call is None:
                heapq.heappop(self._order)
                agent.stamp = 0
                continue
            now = (-call.priority, agent.service, call.arrival, entry[3], entry[4])
            if now == entry:
                return call
            heapq.heapreplace(self._order, now)  # it was served since it entered
        return None

    def take(self, call: CallT) -> None:
        """Removes what `peek` gave."""
        agent = self._agents[call.agent]
        taken = heapq.heappop(agent.calls)[2]
        assert taken is call
        heapq.heappop(self._order)
        agent.stamp = 0
        self._waiting -= 1
        self._level = max(self._level, agent.service)
        following = self._top(agent)
        if following is not None:
            self._enter(call.agent, agent, following)

    def withdraw(self, call: CallT) -> None:
        """The call leaves the queue without having been taken."""
        self._gone.add(call.arrival)
        self._waiting -= 1

    def serve(self, name: str, tokens: float) -> None:
        """Charges an agent; a negative number gives back what it was charged too much."""
        agent = self._agents[name]
        agent.service += tokens
        if tokens < 0 and (call := self._top(agent)) is not None:
            self._enter(name, agent, call)

    def leave(self, call: CallT) -> None:
        """The call is over, wherever it was."""
        agent = self._agents[call.agent]
        agent.present -= 1
        if agent.present:
            return
        for _, arrival, _call in agent.calls:
            self._gone.discard(arrival)
        del self._agents[call.agent]
        self._absent[call.agent] = agent.service
        while len(self._absent) > REMEMBERED:
            self._absent.popitem(last=False)
