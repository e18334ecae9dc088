"""Ask hosts of a bus for one order."""

import asyncio
from collections.abc import Iterable
from typing import Any

import msgspec

from three_mode.agents.handlers.codec import Decode, encode
from transports.bus import Bus, BusError, Encoded


async def host_answers(
    bus: Bus, hosts: Iterable[str], order: str, decode: Decode, within: float, what: Any = None
) -> dict[str, Any]:
    """Return host -> its answer, or the exception in its place. A host that does not answer in time delays nobody."""

    body = Encoded(encode(what))

    async def ask(host: str) -> Any:
        try:
            reply = await bus.ask(host, body, topic=order, within=within)
            return decode(reply.raw)
        except (BusError, msgspec.MsgspecError, ValueError) as error:  # it is busy, has left, or is of another version
            return error

    asked = list(dict.fromkeys(hosts))
    return dict(zip(asked, await asyncio.gather(*map(ask, asked)), strict=True))
