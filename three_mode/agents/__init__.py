"""Agents, and the orchestrator that keeps them alive: `Agent`, `@handler`, `@on`, `Orchestrator`, `join`."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from three_mode.agents.agent import Agent as Agent
    from three_mode.agents.declare import handler as handler
    from three_mode.agents.declare import on as on
    from three_mode.agents.gathering import Gathered as Gathered
    from three_mode.agents.hosts import HostOptions as HostOptions
    from three_mode.agents.joining import join as join
    from three_mode.agents.orchestrator import Orchestrator as Orchestrator
    from three_mode.agents.orchestrator import OrchestratorOptions as OrchestratorOptions
    from three_mode.agents.receipts import Seen as Seen
    from three_mode.agents.recording.replay import replay as replay
    from three_mode.agents.refs import AgentGroup as AgentGroup
    from three_mode.agents.refs import AgentRef as AgentRef
    from three_mode.agents.supervision import Restart as Restart

_HOME = {
    "Agent": "agent",
    "AgentGroup": "refs",
    "AgentRef": "refs",
    "Gathered": "gathering",
    "HostOptions": "hosts",
    "Orchestrator": "orchestrator",
    "OrchestratorOptions": "orchestrator",
    "Restart": "supervision",
    "Seen": "receipts",
    "handler": "declare",
    "join": "joining",
    "on": "declare",
    "replay": "recording.replay",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'three_mode.agents' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"three_mode.agents.{home}"), name)
    return value
