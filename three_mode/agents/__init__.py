"""Agents, and the orchestrator that keeps them alive: `Agent`, `@handler`, `@on`, `Orchestrator`, `join`.

Only names live here; each is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from three_mode.agents.agent import Agent as Agent
    from three_mode.agents.calling.caller import Sent as Sent
    from three_mode.agents.calling.caller import SentToAll as SentToAll
    from three_mode.agents.calling.gather import Gathered as Gathered
    from three_mode.agents.calling.join import Joined as Joined
    from three_mode.agents.calling.join import join as join
    from three_mode.agents.calling.receipts import AgentReceipt as AgentReceipt
    from three_mode.agents.calling.receipts import Seen as Seen
    from three_mode.agents.calling.refs import AgentGroup as AgentGroup
    from three_mode.agents.calling.refs import AgentRef as AgentRef
    from three_mode.agents.calling.refs import RoleRef as RoleRef
    from three_mode.agents.calling.retrying import Retry as Retry
    from three_mode.agents.calling.retrying import RetryingRef as RetryingRef
    from three_mode.agents.calling.streams import Stream as Stream
    from three_mode.agents.handlers.declare import handler as handler
    from three_mode.agents.handlers.declare import on as on
    from three_mode.agents.handlers.tracing import Tracer as Tracer
    from three_mode.agents.keeping.options import KeepOptions as KeepOptions
    from three_mode.agents.orchestrator import Orchestrator as Orchestrator
    from three_mode.agents.orchestrator import OrchestratorOptions as OrchestratorOptions
    from three_mode.agents.recording.replay import Divergence as Divergence
    from three_mode.agents.recording.replay import Replayed as Replayed
    from three_mode.agents.recording.replay import replay as replay
    from three_mode.agents.supervisor.event_reader import AgentEventReader as AgentEventReader
    from three_mode.agents.supervisor.events import AgentGivenUp as AgentGivenUp
    from three_mode.agents.supervisor.events import AgentRestarted as AgentRestarted
    from three_mode.agents.supervisor.events import AgentsMoved as AgentsMoved
    from three_mode.agents.supervisor.events import AgentsOutranked as AgentsOutranked
    from three_mode.agents.supervisor.events import AgentsQuarantined as AgentsQuarantined
    from three_mode.agents.supervisor.events import AgentsStranded as AgentsStranded
    from three_mode.agents.supervisor.events import HandlerRaised as HandlerRaised
    from three_mode.agents.supervisor.events import HomeBack as HomeBack
    from three_mode.agents.supervisor.events import HomeLost as HomeLost
    from three_mode.agents.supervisor.events import HostBack as HostBack
    from three_mode.agents.supervisor.events import HostBlocked as HostBlocked
    from three_mode.agents.supervisor.events import HostFreed as HostFreed
    from three_mode.agents.supervisor.events import HostGivenUp as HostGivenUp
    from three_mode.agents.supervisor.events import HostLost as HostLost
    from three_mode.agents.supervisor.events import NodeBack as NodeBack
    from three_mode.agents.supervisor.events import NodeGap as NodeGap
    from three_mode.agents.supervisor.events import NodeJoined as NodeJoined
    from three_mode.agents.supervisor.events import NodeLost as NodeLost
    from three_mode.agents.supervisor.events import NodeRefused as NodeRefused
    from three_mode.agents.supervisor.events import NodeSuspected as NodeSuspected
    from three_mode.agents.supervisor.events import SteppedDown as SteppedDown
    from three_mode.agents.supervisor.events import SupervisorEvent as SupervisorEvent
    from three_mode.agents.supervisor.events import TookOver as TookOver
    from three_mode.agents.supervisor.hosts import HostOptions as HostOptions
    from three_mode.agents.supervisor.node_events import NodeEvent as NodeEvent
    from three_mode.agents.supervisor.restart import Restart as Restart
    from three_mode.agents.wire.agent_news import AgentsDied as AgentsDied
    from three_mode.agents.wire.agent_news import AgentsSpawned as AgentsSpawned
    from three_mode.agents.wire.agent_news import AgentsStopped as AgentsStopped
    from three_mode.agents.wire.agent_news import BroadcastsMissed as BroadcastsMissed
    from three_mode.agents.wire.agent_news import EventsLost as EventsLost
    from three_mode.agents.wire.agent_news import NewDeadLetter as NewDeadLetter
    from three_mode.agents.wire.dead_letters import DeadLetter as DeadLetter
    from three_mode.agents.wire.orders import AgentReport as AgentReport
    from three_mode.agents.wire.orders import HostReport as HostReport
    from three_mode.agents.wire.orders import NodeReport as NodeReport
    from three_mode.agents.wire.orders import NodeTable as NodeTable
    from three_mode.agents.wire.orders import Table as Table

# Public name -> the module that defines it, below `three_mode.agents`.
_MODULE_OF = {
    "Agent": "agent",
    "AgentEventReader": "supervisor.event_reader",
    "AgentGivenUp": "supervisor.events",
    "AgentGroup": "calling.refs",
    "AgentReceipt": "calling.receipts",
    "AgentRef": "calling.refs",
    "AgentReport": "wire.orders",
    "AgentRestarted": "supervisor.events",
    "AgentsDied": "wire.agent_news",
    "AgentsMoved": "supervisor.events",
    "AgentsOutranked": "supervisor.events",
    "AgentsQuarantined": "supervisor.events",
    "AgentsSpawned": "wire.agent_news",
    "AgentsStopped": "wire.agent_news",
    "AgentsStranded": "supervisor.events",
    "BroadcastsMissed": "wire.agent_news",
    "DeadLetter": "wire.dead_letters",
    "Divergence": "recording.replay",
    "EventsLost": "wire.agent_news",
    "Gathered": "calling.gather",
    "HandlerRaised": "supervisor.events",
    "HomeBack": "supervisor.events",
    "HomeLost": "supervisor.events",
    "HostBack": "supervisor.events",
    "HostBlocked": "supervisor.events",
    "HostFreed": "supervisor.events",
    "HostGivenUp": "supervisor.events",
    "HostLost": "supervisor.events",
    "HostOptions": "supervisor.hosts",
    "HostReport": "wire.orders",
    "Joined": "calling.join",
    "KeepOptions": "keeping.options",
    "NewDeadLetter": "wire.agent_news",
    "NodeBack": "supervisor.events",
    "NodeEvent": "supervisor.node_events",
    "NodeGap": "supervisor.events",
    "NodeJoined": "supervisor.events",
    "NodeLost": "supervisor.events",
    "NodeRefused": "supervisor.events",
    "NodeReport": "wire.orders",
    "NodeTable": "wire.orders",
    "NodeSuspected": "supervisor.events",
    "Orchestrator": "orchestrator",
    "OrchestratorOptions": "orchestrator",
    "Replayed": "recording.replay",
    "Restart": "supervisor.restart",
    "Retry": "calling.retrying",
    "RetryingRef": "calling.retrying",
    "RoleRef": "calling.refs",
    "Seen": "calling.receipts",
    "Sent": "calling.caller",
    "SentToAll": "calling.caller",
    "SteppedDown": "supervisor.events",
    "Stream": "calling.streams",
    "SupervisorEvent": "supervisor.events",
    "Table": "wire.orders",
    "TookOver": "supervisor.events",
    "Tracer": "handlers.tracing",
    "handler": "handlers.declare",
    "join": "calling.join",
    "on": "handlers.declare",
    "replay": "recording.replay",
}

__all__ = list(_MODULE_OF)


def __getattr__(name: str) -> object:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'three_mode.agents' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"three_mode.agents.{module}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
