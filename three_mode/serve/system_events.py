"""What happens to providers and agents, as events for whoever watches."""

import asyncio

from three_mode.connection import LLMConnection
from three_mode.messages import Step
from three_mode.serve.events import PROVIDER_STATUS_CHANGE, PROVIDER_SWITCH, EventHub
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

    def told(request_id: str, step: Step) -> None:
        if step.kind == "switched":  # which error it was is in the log: it may quote a provider
            failed = (step.why or "").partition(": ")[0]
            events.publish(PROVIDER_SWITCH, request_id=request_id, target=f"{step.provider}/{step.model}", was=failed)

    stop_watching, before = connection.watch_steps(told), dict[str, str]()
    try:
        while True:
            now = connection.breaker_states()  # those that are not closed
            for target in sorted(before.keys() | now.keys()):
                was, state = before.get(target, "closed"), now.get(target, "closed")
                if was != state:
                    events.publish(PROVIDER_STATUS_CHANGE, target=target, status=state, was=was)
            before = now
            await asyncio.sleep(EVERY)
    finally:
        stop_watching()


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
