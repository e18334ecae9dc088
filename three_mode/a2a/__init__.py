"""Agent2Agent (A2A) 1.0: agents of other systems on the bus, and what an agent here says when it is one of theirs.

    planner = await orc.spawn(A2AAgent, name="planner", url="https://example.com/a2a/planner")
    reply = await orc.llm.chat_completion(LLMRequest(model="agent:planner", messages=[...]))

The server is a surface of `three-mode serve`. Only names live here; each is imported when it is first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from three_mode.a2a.agent import A2AAgent as A2AAgent
    from three_mode.a2a.agent import A2AReply as A2AReply
    from three_mode.a2a.card import AgentCard as AgentCard
    from three_mode.a2a.card import AgentSkill as AgentSkill
    from three_mode.a2a.client import A2AClient as A2AClient
    from three_mode.a2a.client import A2AClientOptions as A2AClientOptions
    from three_mode.a2a.stream import A2AStream as A2AStream
    from three_mode.a2a.turns import A2AAnswer as A2AAnswer
    from three_mode.a2a.turns import A2ATurn as A2ATurn
    from three_mode.a2a.turns import NeedsInput as NeedsInput
    from three_mode.a2a.turns import Rejected as Rejected
    from three_mode.a2a.values import A2AMessage as A2AMessage
    from three_mode.a2a.values import A2APart as A2APart
    from three_mode.a2a.values import Artifact as Artifact
    from three_mode.a2a.values import ArtifactUpdate as ArtifactUpdate
    from three_mode.a2a.values import StatusUpdate as StatusUpdate
    from three_mode.a2a.values import Task as Task
    from three_mode.a2a.values import TaskState as TaskState
    from three_mode.a2a.values import TaskStatus as TaskStatus

# Public name -> the module that defines it, below `three_mode.a2a`.
_MODULE_OF = {
    "A2AAgent": "agent",
    "A2AAnswer": "turns",
    "A2AClient": "client",
    "A2AClientOptions": "client",
    "A2AMessage": "values",
    "A2APart": "values",
    "A2AReply": "agent",
    "A2AStream": "stream",
    "A2ATurn": "turns",
    "AgentCard": "card",
    "AgentSkill": "card",
    "Artifact": "values",
    "ArtifactUpdate": "values",
    "NeedsInput": "turns",
    "Rejected": "turns",
    "StatusUpdate": "values",
    "Task": "values",
    "TaskState": "values",
    "TaskStatus": "values",
}

__all__ = list(_MODULE_OF)


def __getattr__(name: str) -> object:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'three_mode.a2a' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"three_mode.a2a.{module}"), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
