"""Any agent of a role: the caller chooses a host, the host chooses its least busy agent.

The host knows its mailboxes exactly. Between hosts the caller goes by what it has itself in flight there, in turn where that is
equal. Roles are names on the bus (`any:ROLE@HOST`), so they come and go with their hosts.
"""

from collections.abc import Iterable

from three_mode.errors import NoSuchAgent


class Roles:
    __slots__ = ("_flying", "_hosts")

    def __init__(self) -> None:
        self._hosts: dict[str, dict[str, None]] = {}
        self._flying: dict[str, int] = {}

    def appeared(self, names: Iterable[str]) -> None:
        for name in names:
            if name.startswith("any:"):
                self._hosts.setdefault(_role(name), {})[name] = None

    def disappeared(self, names: Iterable[str]) -> None:
        for name in names:
            if name.startswith("any:"):
                self._hosts.get(_role(name), {}).pop(name, None)
                self._flying.pop(name, None)

    def hosts(self, role: str) -> dict[str, None]:
        """The addresses of a role, kept up to date."""
        return self._hosts.setdefault(role, {})

    def take(self, role: str) -> str:
        """The address to call. It counts as a call in flight until it is given back."""
        hosts = self._hosts.get(role)
        if not hosts:
            raise NoSuchAgent(
                f"no agent has the role {role!r}",
                agent=role,
                hint="spawn(..., roles=[...]); a group's name is a role too",
            )
        flying = self._flying
        if len(hosts) == 1:
            (address,) = hosts
        else:
            address = min(hosts, key=lambda one: flying.get(one, 0))
            del hosts[address]  # behind the others: whoever is equal is taken in turn
            hosts[address] = None
        flying[address] = flying.get(address, 0) + 1
        return address

    def give_back(self, address: str) -> None:
        flying = self._flying
        if address in flying:
            flying[address] -= 1


def _role(name: str) -> str:
    return name.removeprefix("any:").partition("@")[0]
