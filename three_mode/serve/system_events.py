"""What happens to hosts and agents, as events for whoever watches."""

from three_mode.serve.events import AGENTS_JOINED, AGENTS_LEFT, HOST_JOINED, HOST_LOST, EventHub
from transports.bus import Bus, DirectoryChange, MemberJoined, MemberLost, NamesChanged, Watch


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
