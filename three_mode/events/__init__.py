"""Events of a connection: what happens to its calls, tools, conversations, providers and budgets, as it happens.

async with llm.events(kinds=["response_chunk", "response_complete"]) as events:
    async for event in events: print(event.kind, event)

A reader that is too slow loses the oldest events, and is told how many by an `EventGap`. Nobody who calls waits for one
who reads.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from three_mode.events.hub import ConnectionHub as ConnectionHub
    from three_mode.events.kinds import KINDS as KINDS
    from three_mode.events.reader import EventReader as EventReader
    from three_mode.events.values import AnalyticsUpdate as AnalyticsUpdate
    from three_mode.events.values import AskedAs as AskedAs
    from three_mode.events.values import BudgetUse as BudgetUse
    from three_mode.events.values import CallRetry as CallRetry
    from three_mode.events.values import ConversationCompacted as ConversationCompacted
    from three_mode.events.values import ConversationCreated as ConversationCreated
    from three_mode.events.values import EventGap as EventGap
    from three_mode.events.values import FunctionCalls as FunctionCalls
    from three_mode.events.values import LLMEvent as LLMEvent
    from three_mode.events.values import ProviderStatusChange as ProviderStatusChange
    from three_mode.events.values import ProviderSwitch as ProviderSwitch
    from three_mode.events.values import ResponseChunk as ResponseChunk
    from three_mode.events.values import ResponseComplete as ResponseComplete
    from three_mode.events.values import ResponseStart as ResponseStart
    from three_mode.events.values import ToolReturned as ToolReturned
    from three_mode.events.values import event_from as event_from

# Public name -> the module it lives in. A connection that nobody listens to never loads the values.
_HOME = {
    "ConnectionHub": "hub",
    "KINDS": "kinds",
    "EventReader": "reader",
    "AnalyticsUpdate": "values",
    "AskedAs": "values",
    "BudgetUse": "values",
    "CallRetry": "values",
    "ConversationCompacted": "values",
    "ConversationCreated": "values",
    "EventGap": "values",
    "FunctionCalls": "values",
    "LLMEvent": "values",
    "ProviderStatusChange": "values",
    "ProviderSwitch": "values",
    "ResponseChunk": "values",
    "ResponseComplete": "values",
    "ResponseStart": "values",
    "ToolReturned": "values",
    "event_from": "values",
}

__all__ = [
    "KINDS",
    "AnalyticsUpdate",
    "AskedAs",
    "BudgetUse",
    "CallRetry",
    "ConnectionHub",
    "ConversationCompacted",
    "ConversationCreated",
    "EventGap",
    "EventReader",
    "FunctionCalls",
    "LLMEvent",
    "ProviderStatusChange",
    "ProviderSwitch",
    "ResponseChunk",
    "ResponseComplete",
    "ResponseStart",
    "ToolReturned",
    "event_from",
]


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'three_mode.events' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"three_mode.events.{home}"), name)
    return value
