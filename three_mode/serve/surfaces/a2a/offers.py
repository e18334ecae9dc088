"""Which agents of A2A the endpoint has: groups of agents on its bus, and the models that it serves."""

import asyncio
import time
from collections.abc import Sequence

from msgspec import Struct

from three_mode.a2a.card import IMAGES, JSON, TEXT, AgentCapabilities, AgentCard, AgentSkill, interfaces, keys_needed
from three_mode.agents.calling.a2a_offers import a2a_offers
from three_mode.agents.calling.refs import Verbs
from three_mode.agents.wire.orders import A2AHandler, A2AReport
from three_mode.serve.endpoint import EndpointState

ASKED_FOR = 2.0  # seconds that hosts have to say which agents they have, and that what they said is kept
CHAT = "chat"  # the skill of a model
_AGENT = "agent:"
_OWNERS = frozenset(("agents", "three-mode"))  # of models that are agents, or that the operator named


class Offered(Struct, frozen=True):
    """One agent of A2A."""

    name: str
    description: str = ""
    model: str = ""  #: the model that a message without a skill goes to; "" where it is none
    handlers: tuple[A2AHandler, ...] = ()

    def handler(self, skill: str | None) -> A2AHandler | None:
        """The handler that a message goes to; None for the model. LookupError where the message has to say which."""
        if skill is not None and not (skill == CHAT and self.model):
            return next(handler for handler in self.handlers if handler.name == skill)
        if skill is None and len(self.handlers) == 1:
            return self.handlers[0]
        if not self.model:
            raise LookupError
        return None

    @property
    def skills(self) -> tuple[str, ...]:
        """The names of its skills."""
        return (*(handler.name for handler in self.handlers), *((CHAT,) if self.model else ()))


class Offers:
    """Agents of A2A, by name. Hosts are asked when all are wanted or a name is unknown, at most once in 2 seconds."""

    def __init__(self, endpoint: EndpointState) -> None:
        self._endpoint = endpoint
        self._known: dict[str, Offered] = {}
        self._asked = float("-inf")
        self._asking = asyncio.Lock()

    async def all(self) -> dict[str, Offered]:
        """Each agent, by its name."""
        async with self._asking:  # who comes meanwhile takes the same answers
            if time.monotonic() - self._asked > ASKED_FOR:
                self._known = await self._ask()
                self._asked = time.monotonic()
        return self._known

    async def find(self, name: str) -> Offered | None:
        """The agent of that name."""
        return self._known.get(name) or (await self.all()).get(name)

    async def _ask(self) -> dict[str, Offered]:
        endpoint = self._endpoint
        assert endpoint.backend is not None
        models = [model for model in await endpoint.models() if model.owned_by in _OWNERS]
        served = {model.id.removeprefix(_AGENT): model for model in models}
        verbs = endpoint.agents
        reports: Sequence[A2AReport] = await a2a_offers(verbs, ASKED_FOR) if isinstance(verbs, Verbs) else ()
        found = {name: Offered(name, f"The model {name}.", model.id) for name, model in served.items()}
        for report in reports:
            model = served.get(report.group) if report.is_model else None
            address = "" if model is None else model.id
            found[report.group] = Offered(report.group, report.description, address, report.handlers)
        return {name: one for name, one in sorted(found.items()) if "/" not in name and one.skills}


def card_of(offered: Offered, url: str, version: str, needs_key: bool, grpc: str = "") -> AgentCard:
    """The card of an agent that is asked at a URL, and over gRPC at `grpc`, a host and a port."""
    skills = [
        AgentSkill(id=handler.name, name=handler.name, description=handler.description or handler.name, tags=("agent",))
        for handler in offered.handlers
    ]
    if offered.model:
        said = offered.description or "Answers messages."
        skills.append(AgentSkill(id=CHAT, name=CHAT, description=said, tags=("chat",)))
    return AgentCard(
        name=offered.name,
        description=offered.description or f"The agent {offered.name}.",
        version=version,
        supported_interfaces=interfaces(url, grpc, offered.name),
        capabilities=AgentCapabilities(streaming=True, push_notifications=False, extended_agent_card=False),
        default_input_modes=(TEXT, JSON, *IMAGES) if offered.model else (TEXT, JSON),
        default_output_modes=(TEXT, JSON),
        skills=tuple(skills),
        **(keys_needed() if needs_key else {}),
    )
