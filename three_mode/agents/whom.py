"""Who is meant by what a verb was given, and whether it can be: agents, names, nodes, what is spawned."""

from collections.abc import Iterable, Sequence
from typing import Any

from three_mode.agents.agent import Agent
from three_mode.agents.calling.refs import AgentGroup, AgentRef
from three_mode.errors import ConfigurationError

Whom = AgentRef | AgentGroup | str | Iterable[AgentRef | str]


def names_of(whom: Whom) -> list[str]:
    """Return the names of agents given as a reference, a group, a name, or several of them."""
    if isinstance(whom, str):
        return [whom]
    if isinstance(whom, AgentRef):
        return [whom.name]
    if isinstance(whom, AgentGroup):
        return whom.names
    given: Any = whom
    several = list(given) if isinstance(given, Iterable) else [given]
    for agent in several:
        if not isinstance(agent, str | AgentRef):
            raise ConfigurationError(
                f"{agent!r} is no agent", hint="a reference, a group, a name such as 'scout/7', or a list of them"
            )
    return [agent if isinstance(agent, str) else agent.name for agent in several]


def check_spawned(kind: Any, count: Any, roles: Any) -> None:
    """Raise ConfigurationError where the class, the number or the roles of new agents are none."""
    if isinstance(kind, Agent):
        made = type(kind).__name__
        raise ConfigurationError(
            f"{made}(...) is an agent made by hand: spawn takes the class",
            hint=f"spawn({made}, ...), then its arguments",
        )
    if not (isinstance(kind, type) and issubclass(kind, Agent)):
        raise ConfigurationError(f"{kind!r} is no Agent", hint="class Scout(Agent): ...")
    if count is not None and not isinstance(count, int):
        raise ConfigurationError(
            f"count is a number of agents, not {count!r}", hint=f"spawn({kind.__name__}, 5), or none for one agent"
        )
    if count is not None and count < 0:
        raise ConfigurationError(f"cannot spawn {count} agents")
    if isinstance(roles, str) or not isinstance(roles, Iterable):
        raise ConfigurationError(f"roles are several names, not {roles!r}", hint=f"roles=[{str(roles)!r}]")


def check_name(name: Any) -> str:
    """Return the name of a group or role, or raise ConfigurationError."""
    if not isinstance(name, str) or not name or any(letter in "/@:" or letter.isspace() for letter in name):
        raise ConfigurationError(f"{name!r} is no name for a group or role", hint="letters, digits, - _ and .")
    return name


def nodes_of(on: str | Sequence[str]) -> tuple[str, ...]:
    """Return the names or labels of nodes that `on` was given."""
    given: Any = on
    if isinstance(on, str):
        return (on,) if on else ()
    found = tuple(given) if isinstance(given, Iterable) else (given,)
    if not all(isinstance(one, str) and one for one in found):
        raise ConfigurationError(f"on has names or labels of nodes, not {on!r}", hint='on="gpu", or on=("a", "b")')
    return found


def no_cluster(text: str) -> ConfigurationError:
    """Return the error of what only a cluster has."""
    return ConfigurationError(text, hint='Orchestrator(cluster="nats://10.0.0.1:4222")')
