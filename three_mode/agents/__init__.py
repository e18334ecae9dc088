"""Agents, and the orchestrator that keeps them alive: `Agent`, `@handler`, `@on`, `Orchestrator`, `join`."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from three_mode.agents.agent import Agent as Agent
    from three_mode.agents.calling.gather import Gathered as Gathered
    from three_mode.agents.calling.join import join as join
    from three_mode.agents.calling.receipts import Seen as Seen
    from three_mode.agents.calling.refs import AgentGroup as AgentGroup
    from three_mode.agents.calling.refs import AgentRef as AgentRef
    from three_mode.agents.handlers.declare import handler as handler
    from three_mode.agents.handlers.declare import on as on
    from three_mode.agents.orchestrator import Orchestrator as Orchestrator
    from three_mode.agents.orchestrator import OrchestratorOptions as OrchestratorOptions
    from three_mode.agents.recording.replay import replay as replay
    from three_mode.agents.supervisor.hosts import HostOptions as HostOptions
    from three_mode.agents.supervisor.restart import Restart as Restart

_HOME = {
    "Agent": "agent",
    "AgentGroup": "calling.refs",
    "AgentRef": "calling.refs",
    "Gathered": "calling.gather",
    "HostOptions": "supervisor.hosts",
    "Orchestrator": "orchestrator",
    "OrchestratorOptions": "orchestrator",
    "Restart": "supervisor.restart",
    "Seen": "calling.receipts",
    "handler": "handlers.declare",
    "join": "calling.join",
    "on": "handlers.declare",
    "replay": "recording.replay",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'three_mode.agents' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"three_mode.agents.{home}"), name)
    return value
