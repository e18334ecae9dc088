"""What happens to providers and agents, as events for whoever watches."""

import asyncio

from three_mode.connection import LLMConnection
from three_mode.serve.events import PROVIDER_STATUS_CHANGE, EventHub
from transports.bus import Bus, DirectoryChange, MemberJoined, MemberLost, NamesChanged, Watch

EVERY = 0.5  # seconds between two looks at the breakers: they tell nobody when they open
AGENTS_JOINED, AGENTS_LEFT, HOST_JOINED, HOST_LOST = (
    "agents_joined",
    "agents_left",
    "host_joined",
    "host_lost",
)


async def tell_of_providers(connection: LLMConnection, events: EventHub) -> None:
    """Runs until cancelled."""
    before: dict[str, str] = {}
    while True:
        now = connection.breaker_states()  # those that are not closed
        for target in sorted(before.keys() | now.keys()):
            was, state = before.get(target, "closed"), now.get(target, "closed")
            if was != state:
                events.publish(PROVIDER_STATUS_CHANGE, target=target, status=state, was=was)
        before = now
        await asyncio.sleep(EVERY)


def tell_of_agents(bus: Bus, events: EventHub) -> Watch:
    """Until what it returns is closed. Names come many at a time, and so do the events."""

    def changed(change: DirectoryChange) -> None:
        match change:
            case NamesChanged():
                for kind, names in ((AGENTS_JOINED, change.added), (AGENTS_LEFT, change.removed)):
                    agents = [name for name in names if "/" in name]  # the rest are roles and hosts
                    if agents:
                        events.publish(kind, host=change.member, agents=agents)
            case MemberJoined():
                events.publish(HOST_JOINED, host=change.member.id, label=change.member.label)
            case MemberLost():
                events.publish(HOST_LOST, host=change.member.id, label=change.member.label, reason=change.reason)

    return bus.watch(changed)
