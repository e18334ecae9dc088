"""Ask all hosts of a bus which of their agents take messages of A2A."""

import asyncio
import logging

import msgspec

from three_mode.agents.calling.refs import Verbs
from three_mode.agents.handlers.codec import decoder_for, encode
from three_mode.agents.wire.orders import A2AHandler, A2AReport
from transports.bus import BusError, Encoded

log = logging.getLogger("three_mode.agents")
_reports = decoder_for(tuple[A2AReport, ...])


async def a2a_offers(verbs: Verbs, within: float) -> list[A2AReport]:
    """Return one report for each group, by name. A host that does not answer in time is left out, and delays nobody."""
    session = verbs._three_mode_caller.session

    async def ask(host: str) -> tuple[A2AReport, ...]:
        reply = await session.bus.ask(host, Encoded(encode(None)), topic="a2a", within=within)
        found: tuple[A2AReport, ...] = _reports(reply.raw)
        return found

    answers = await asyncio.gather(*map(ask, set(session.hosts.values())), return_exceptions=True)
    found: dict[str, A2AReport] = {}
    for answer in answers:
        if isinstance(answer, BusError | msgspec.MsgspecError):
            log.warning("a host did not say which of its agents take messages of A2A: %s", answer)
            continue
        if isinstance(answer, BaseException):
            raise answer
        for report in answer:
            found[report.group] = _both(found.get(report.group), report)
    return [found[group] for group in sorted(found)]


def _both(one: A2AReport | None, other: A2AReport) -> A2AReport:
    """A group that lives in several hosts."""
    if one is None or one == other:
        return other
    handlers: dict[str, A2AHandler] = {handler.name: handler for handler in (*one.handlers, *other.handlers)}
    return msgspec.structs.replace(other, is_model=one.is_model or other.is_model, handlers=tuple(handlers.values()))
