"""Caller of a reference that came in a message: whoever uses it, in the process that it came to.

A reference travels as a name. Where it is used, the agent that handles something there is the caller; outside of agents
it is the program itself, on the bus that its event loop has joined.
"""

from collections.abc import Coroutine, Sequence
from typing import Any

from three_mode.agents.calling.caller import Caller, Handler, Sent
from three_mode.agents.calling.gather import Gathered
from three_mode.agents.calling.receipts import AgentReceipt
from three_mode.agents.calling.roles import Roles
from three_mode.agents.calling.session import session_here
from three_mode.agents.calling.streams import Stream
from three_mode.handling import current


def caller_here() -> Caller:
    """Return the caller for the code that runs now; ModeUnavailable where no bus, or more than one, is joined."""
    actor = getattr(current.get(), "actor", None)
    found: Caller = actor.caller if actor is not None else Caller(session_here(), "")
    return found


class CallerHere(Caller):
    """Verbs that find their caller each time that they are used."""

    __slots__ = ()

    def __init__(self) -> None:
        """Have no session: each verb finds one."""

    @property
    def roles(self) -> Roles:
        return caller_here().roles

    def group_numbers(self, group: str) -> list[int]:
        return caller_here().group_numbers(group)

    def ask(
        self, to: str, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any], within: float | None
    ) -> Coroutine[Any, Any, Any]:
        return caller_here().ask(to, handler, args, kwargs, within)

    def tell(self, to: str, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Sent:
        return caller_here().tell(to, handler, args, kwargs)

    def stream(
        self, to: str, handler: Handler, args: tuple[Any, ...], kwargs: dict[str, Any], within: float | None
    ) -> Stream[Any]:
        return caller_here().stream(to, handler, args, kwargs, within)

    def broadcast(self, topic: str, item: Any) -> AgentReceipt:
        return caller_here().broadcast(topic, item)

    def gather(
        self,
        names: Sequence[str],
        handler: Handler,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        within: float | None,
        quorum: int | None,
    ) -> Coroutine[Any, Any, Gathered[Any]]:
        return caller_here().gather(names, handler, args, kwargs, within, quorum)


HERE = CallerHere()
