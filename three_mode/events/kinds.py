"""Kinds of events, and the check of those that somebody asks for."""

from collections.abc import Iterable

from three_mode.errors import ConfigurationError

RESPONSE_START = "response_start"
RESPONSE_CHUNK = "response_chunk"
RESPONSE_COMPLETE = "response_complete"
FUNCTION_CALLS = "function_calls"
TOOL_RESULT = "tool_result"
CONVERSATION_CREATED = "conversation_created"
COMPACTED = "compacted"
PROVIDER_STATUS_CHANGE = "provider_status_change"
PROVIDER_SWITCH = "provider_switch"
RETRY = "retry"
BUDGET = "budget"
ANALYTICS_UPDATE = "analytics_update"
GAP = "gap"

#: The kinds of events of a connection, as `events(kinds=...)` takes them.
KINDS = (
    RESPONSE_START,
    RESPONSE_CHUNK,
    RESPONSE_COMPLETE,
    FUNCTION_CALLS,
    TOOL_RESULT,
    CONVERSATION_CREATED,
    COMPACTED,
    PROVIDER_STATUS_CHANGE,
    PROVIDER_SWITCH,
    RETRY,
    BUDGET,
    ANALYTICS_UPDATE,
    GAP,
)
ALL = frozenset(KINDS)


def chosen(kinds: Iterable[str] | None, known: Iterable[str] = KINDS) -> frozenset[str]:
    """The kinds that somebody asks for; None means all. A kind that there is not is a ConfigurationError."""
    names = tuple(known)
    if kinds is None:
        return frozenset(names)
    asked = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    unknown = next((kind for kind in asked if kind not in names), None)
    if unknown is not None:
        raise ConfigurationError(f"there is no kind of event {unknown!r}", hint=f"there are {', '.join(names)}")
    if not asked:
        raise ConfigurationError("no kinds of events are asked for", hint="leave kinds= out for all of them")
    return frozenset(asked)
