"""News of the agents of a host: dead letters and missed broadcasts, sent to the orchestrator while somebody reads."""

from three_mode.agents.host.forwarding import EventForwarder
from three_mode.agents.runtime.population import Population
from three_mode.agents.wire.agent_news import AgentNews, BroadcastsMissed, EventsLost, NewDeadLetter
from three_mode.agents.wire.dead_letters import DeadLetter, DeadLetters
from three_mode.agents.wire.orders import AGENT_NEWS


class AgentNewsForwarder(EventForwarder[AgentNews]):
    """Listens to a population, and to the dead letters of its process where nobody else of it does."""

    def __init__(self, population: Population, letters: DeadLetters | None) -> None:
        super().__init__(population.session, population.label, AGENT_NEWS, _gap, self._hear)
        self._population, self._letters = population, letters

    def _hear(self, kinds: tuple[str, ...]) -> None:
        if self._letters is not None:
            self._letters.told = self._letter if NewDeadLetter.__name__ in kinds else None
        self._population.told_missed = self._missed if BroadcastsMissed.__name__ in kinds else None

    def _letter(self, letter: DeadLetter) -> None:
        self.take(news_of(letter))

    def _missed(self, handler: str, broadcasts: int, agents: int) -> None:
        self.take(BroadcastsMissed(self._population.label, handler, broadcasts, agents))


def news_of(letter: DeadLetter) -> NewDeadLetter:
    """Return the event of a dead letter."""
    return NewDeadLetter(letter.to, letter.handler, letter.sender, letter.reason, letter.size, letter.when)


def _gap(count: int) -> AgentNews:
    return EventsLost(count, "its host could not send them in time")
