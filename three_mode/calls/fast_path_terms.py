"""Terms on which a call may take a fast path, to an agent or to a provider."""

from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from three_mode.calls.call_log import CallLog, FailedFirstAttempt
from three_mode.calls.options import Observing
from three_mode.messages import LLMRequest, LLMResponse
from three_mode.policies import Policies

# The normal way of a call; a first attempt may have failed already.
NormalWay = Callable[[LLMRequest, FailedFirstAttempt | None], Coroutine[Any, Any, LLMResponse]]
# Gets the reply of a call that was begun without a task; or what gives it in the normal way, after a failure.
OnDone = Callable[[LLMResponse | Callable[[], Coroutine[Any, Any, LLMResponse]]], None]


class TasklessCall(Protocol):
    """A call for a whole reply that was sent without a task, and whose caller is called back."""

    def cancel(self) -> None:
        """End the call, which has not ended yet, and the work at its far side."""
        ...


def nothing_acts(policies: Policies, log: CallLog, observe: Observing) -> bool:
    """Whether a connection asks nothing of a call that is answered at its first attempt, but to count it."""
    return not (
        policies.cache is not None
        or policies.coalesce
        or policies.hedge is not None
        or policies.fallback.targets
        or policies.budgets
        or log.recorder is not None
        or log.traces
        or observe.after is not None
    )


async def raised(error: Exception) -> LLMResponse:
    """The reply of a call that ended with an error."""
    raise error
