"""Who waits, and who is next: priority first, then the agent that was served least, then who came first. Pure.

Service is counted in tokens computed. An agent that was away comes back at the level of those now being served: it can save up
nothing, and owes what it owed. A bounded number of absent agents is remembered.
"""

import heapq
from collections import OrderedDict
from typing import Generic, Protocol, TypeVar

REMEMBERED = 4096


class Waiting(Protocol):
    """What is asked of a call."""

    agent: str
    priority: int
    arrival: int  # unique


CallT = TypeVar("CallT", bound=Waiting)


class _Agent(Generic[CallT]):
    __slots__ = ("calls", "present", "service")

    def __init__(self, service: float) -> None:
        self.service = service
        self.present = 0  # calls that wait or run
        self.calls: list[tuple[int, int, CallT]] = []  # heap of (-priority, arrival, call)


class Turns(Generic[CallT]):
    def __init__(self) -> None:
        self._agents: dict[str, _Agent[CallT]] = {}
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._order: list[
            tuple[int, float, int, str]
        ] = []  # heap; keys only grow, so a stale one is put back
        self._gone: set[int] = set()  # arrivals of calls that left the queue by themselves
        self._level = 0.0
        self._waiting = 0

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
            agent = self._agents[call.agent] = _Agent(max(owed, self._level))
        agent.present += 1
        self.wait(call)

    def wait(self, call: CallT) -> None:
        """The call is in the queue: new, or preempted (its old arrival then puts it before its agent's later calls)."""
        agent = self._agents[call.agent]
        heapq.heappush(agent.calls, (-call.priority, call.arrival, call))
        heapq.heappush(self._order, (-call.priority, agent.service, call.arrival, call.agent))
        self._waiting += 1

    def _top(self, agent: _Agent[CallT]) -> CallT | None:
        while agent.calls and agent.calls[0][1] in self._gone:
            self._gone.discard(heapq.heappop(agent.calls)[1])
        return agent.calls[0][2] if agent.calls else None

    def peek(self) -> CallT | None:
        """The next call, left where it is."""
        while self._order:
            priority, service, arrival, name = self._order[0]
            agent = self._agents.get(name)
            call = self._top(agent) if agent else None
            if agent is None or call is None:
                heapq.heappop(self._order)
                continue
            if (-call.priority, agent.service, call.arrival) == (priority, service, arrival):
                return call
            heapq.heapreplace(self._order, (-call.priority, agent.service, call.arrival, name))
            # the same key may now be there twice; the second is found stale when its call has gone
        return None

    def take(self, call: CallT) -> None:
        """Removes what `peek` gave."""
        agent = self._agents[call.agent]
        taken = heapq.heappop(agent.calls)[2]
        assert taken is call
        heapq.heappop(self._order)
        self._waiting -= 1
        self._level = max(self._level, agent.service)
        following = self._top(agent)
        if following is not None:
            heapq.heappush(self._order, (-following.priority, agent.service, following.arrival, call.agent))

    def withdraw(self, call: CallT) -> None:
        """The call leaves the queue without having been taken."""
        self._gone.add(call.arrival)
        self._waiting -= 1

    def serve(self, agent: str, tokens: int) -> None:
        self._agents[agent].service += tokens

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
