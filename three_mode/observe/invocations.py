"""How many models and tools one invocation of an agent called: counted where they are called, told when it ends."""

from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar


class AgentInvocation:
    """Calls of one invocation, failed ones included. What agents call that it asks is theirs."""

    __slots__ = ("models", "tools")

    def __init__(self) -> None:
        self.models = self.tools = 0


_now: ContextVar[AgentInvocation | None] = ContextVar("three_mode_invocation", default=None)


@contextmanager
def invoked(invocation: AgentInvocation) -> Generator[None, None, None]:
    """Block in which an agent is invoked."""
    mark = _now.set(invocation)
    try:
        yield
    finally:
        _now.reset(mark)


def count_for(invocation: AgentInvocation) -> None:
    """Count what is called in this copy of a context, from now on."""
    _now.set(invocation)


def count_model() -> None:
    """A model is called."""
    found = _now.get()
    if found is not None:
        found.models += 1


def count_tool() -> None:
    """A tool is called."""
    found = _now.get()
    if found is not None:
        found.tools += 1
