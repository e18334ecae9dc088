"""Fair queue: higher priority first, then the agent with the least service, then the earliest call. Pure.

Service is counted in tokens. A call is charged its expected tokens when it is admitted; otherwise an agent with many
calls would get many places before its first tokens are counted. Tokens that it does not use are given back. An agent
that returns starts at the level of the agents in service: it has saved up nothing, and still owes what it owed. The
service of a bounded number of absent agents is remembered.
"""

import heapq
from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

REMEMBERED = 4096  # absent agents whose service is kept


class QueuedCall(Protocol):
    """Fields of a call that the queue reads."""

    agent: str
    priority: int
    arrival: int  # unique


CallT = TypeVar("CallT", bound=QueuedCall)


class _AgentQueue(Generic[CallT]):
    """Calls of one agent that wait, and its service."""

    __slots__ = ("calls", "present", "service", "stamp")

    def __init__(self, service: float) -> None:
        self.service = service
        self.present = 0  # calls that wait or run
        self.calls: list[tuple[int, int, CallT]] = []  # heap of (-priority, arrival, call)
        self.stamp = 0  # of its one valid entry in the order; older entries are dropped when they reach the top


class FairCallQueue(Generic[CallT]):
    """Waiting calls of all agents; `len` counts them."""

    def __init__(self) -> None:
        self._agents: dict[str, _AgentQueue[CallT]] = {}
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._order: list[tuple[int, float, int, str, int]] = []  # heap of (-priority, service, arrival, agent, stamp)
        self._withdrawn: set[int] = set()  # arrivals of calls that were withdrawn
        self._level = 0.0
        self._waiting = 0
        self._stamps = 0

    def __len__(self) -> int:
        return self._waiting

    def service(self, agent: str) -> float:
        """Returns the tokens charged to an agent."""
        known = self._agents.get(agent)
        return known.service if known else self._absent.get(agent, 0.0)

    def arrive(self, call: CallT) -> None:
        """Adds a new call; its agent is present until all its calls have left."""
        agent = self._agents.get(call.agent)
        if agent is None:
            owed = self._absent.pop(call.agent, 0.0)
            agent = self._agents[call.agent] = _AgentQueue(max(owed, self._level))
        agent.present += 1
        self.wait(call)

    def wait(self, call: CallT) -> None:
        """Puts a call into the queue: a new one, or a preempted one, which goes before later calls of its agent."""
        agent = self._agents[call.agent]
        heapq.heappush(agent.calls, (-call.priority, call.arrival, call))
        self._waiting += 1
        if agent.calls[0][2] is call:
            self._enter_order(call.agent, agent, call)

    def _enter_order(self, name: str, agent: _AgentQueue[CallT], call: CallT) -> None:
        self._stamps += 1
        agent.stamp = self._stamps
        heapq.heappush(self._order, (-call.priority, agent.service, call.arrival, name, agent.stamp))
        if len(self._order) > 4 * len(self._agents) + 64:  # mostly old entries that never reached the top
            self._order = [entry for entry in self._order if self._valid(entry)]
            heapq.heapify(self._order)

    def _valid(self, entry: tuple[int, float, int, str, int]) -> bool:
        agent = self._agents.get(entry[3])
        return agent is not None and agent.stamp == entry[4]

    def _first_call(self, agent: _AgentQueue[CallT]) -> CallT | None:
        while agent.calls and agent.calls[0][1] in self._withdrawn:
            self._withdrawn.discard(heapq.heappop(agent.calls)[1])
        return agent.calls[0][2] if agent.calls else None

    def peek(self) -> CallT | None:
        """Returns the next call without removing it."""
        while self._order:
            entry = self._order[0]
            if not self._valid(entry):
                heapq.heappop(self._order)
                continue
            agent = self._agents[entry[3]]
            call = self._first_call(agent)
            if call is None:
                heapq.heappop(self._order)
                agent.stamp = 0
                continue
            now = (-call.priority, agent.service, call.arrival, entry[3], entry[4])
            if now == entry:
                return call
            heapq.heapreplace(self._order, now)  # the agent was charged since the entry was made
        return None

    def take(self, call: CallT) -> None:
        """Removes the call that `peek` returned."""
        agent = self._agents[call.agent]
        taken = heapq.heappop(agent.calls)[2]
        assert taken is call
        heapq.heappop(self._order)
        agent.stamp = 0
        self._waiting -= 1
        self._level = max(self._level, agent.service)
        following = self._first_call(agent)
        if following is not None:
            self._enter_order(call.agent, agent, following)

    def withdraw(self, call: CallT) -> None:
        """Removes a waiting call that ended."""
        self._withdrawn.add(call.arrival)
        self._waiting -= 1

    def serve(self, name: str, tokens: float) -> None:
        """Charges an agent with tokens; a negative number gives back tokens that it did not use."""
        agent = self._agents[name]
        agent.service += tokens
        if tokens < 0 and (call := self._first_call(agent)) is not None:
            self._enter_order(name, agent, call)

    def leave(self, call: CallT) -> None:
        """Notes the end of a call, waiting or running."""
        agent = self._agents[call.agent]
        agent.present -= 1
        if agent.present:
            return
        for _, arrival, _call in agent.calls:
            self._withdrawn.discard(arrival)
        del self._agents[call.agent]
        self._absent[call.agent] = agent.service
        while len(self._absent) > REMEMBERED:
            self._absent.popitem(last=False)
