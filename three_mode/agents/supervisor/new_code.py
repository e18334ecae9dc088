"""New code on hosts: have them load the modules anew that the orchestrator's process has loaded anew."""

import logging

from three_mode.agents.calling.session import Session
from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.supervisor.hosts import Hosts
from three_mode.agents.wire.orders import ReloadOrder, host_name
from three_mode.errors import ConfigurationError
from transports.bus import BusError, Encoded

log = logging.getLogger("three_mode.agents")
_failed = decoder_for(dict[str, str])


class NewCode:
    """Giver of orders to load modules anew, before an agent is made or restarted on a host."""

    def __init__(self, session: Session, hosts: Hosts) -> None:
        self._session, self._hosts = session, hosts

    async def bring_to(self, label: str, within: float, old_code: bool) -> None:
        """Have a host load modules anew, if this process has loaded some anew since the host did.

        A host that keeps old code is a ConfigurationError, or with `old_code` a warning in the log: an agent that
        failed had better come back with the code that it had.
        """
        host = self._hosts.all.get(label)
        if host is None or host.process is None:
            return  # gone, or this process itself
        length = self._hosts.reloads.look()
        if host.reloads == length:
            return
        modules, process = self._hosts.reloads.since(host.reloads), host.process
        failed = await self._order(host_name(label), ReloadOrder(modules), within)
        for module, reason in failed.items():
            said = f"{label} has the old code of {module}, which it could not load anew: {reason}"
            if not old_code:
                raise ConfigurationError(said, hint="mend the module, and reload it here once more")
            log.warning("%s", said)
        if host.process is process and not failed:
            host.reloads = length

    async def _order(self, host: str, order: ReloadOrder, within: float) -> dict[str, str]:
        """Give the order; return module -> why it could not be loaded anew."""
        try:
            reply = await self._session.bus.ask(host, Encoded(encode(order)), topic="reload", within=within)
        except BusError as error:
            raise self._session.error(error, host, "reload") from None
        found: dict[str, str] = _failed(reply.raw)
        return found
