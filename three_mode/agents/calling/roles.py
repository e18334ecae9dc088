"""Roles: the caller chooses the host with the fewest of its own calls in flight, and the host its least busy agent.

A host knows its mailboxes exactly. Hosts with equally many calls in flight take turns. Roles are names on the bus
(`any:ROLE@HOST`), so they come and go with their hosts.
"""

from collections.abc import Iterable

from three_mode.errors import NoSuchAgent


class Roles:
    """Hosts of each role, and how many calls of this process are in flight at each."""

    __slots__ = ("_hosts", "_in_flight")

    def __init__(self) -> None:
        self._hosts: dict[str, dict[str, None]] = {}
        self._in_flight: dict[str, int] = {}

    def appeared(self, names: Iterable[str]) -> None:
        """Add the roles among names that have come onto the bus."""
        for name in names:
            if name.startswith("any:"):
                self._hosts.setdefault(_role(name), {})[name] = None

    def disappeared(self, names: Iterable[str]) -> None:
        """Remove the roles among names that have left the bus."""
        for name in names:
            if name.startswith("any:"):
                self._hosts.get(_role(name), {}).pop(name, None)
                self._in_flight.pop(name, None)

    def hosts(self, role: str) -> dict[str, None]:
        """Return the addresses of a role: a dict that is kept up to date."""
        return self._hosts.setdefault(role, {})

    def take(self, role: str) -> str:
        """Choose the address to call. It counts as a call in flight until `give_back`."""
        hosts = self._hosts.get(role)
        if not hosts:
            raise NoSuchAgent(
                f"no agent has the role {role!r}",
                agent=role,
                hint="spawn(..., roles=[...]); a group's name is a role too",
            )
        in_flight = self._in_flight
        if len(hosts) == 1:
            (address,) = hosts
        else:
            address = min(hosts, key=lambda one: in_flight.get(one, 0))
            del hosts[address]  # moved behind the others, so that equal hosts take turns
            hosts[address] = None
        in_flight[address] = in_flight.get(address, 0) + 1
        return address

    def give_back(self, address: str) -> None:
        """End the call in flight of `take`."""
        in_flight = self._in_flight
        if address in in_flight:
            in_flight[address] -= 1


def _role(name: str) -> str:
    return name.removeprefix("any:").partition("@")[0]
