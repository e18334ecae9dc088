"""Ask all hosts of a bus which of their agents take messages of A2A."""

import logging

import msgspec

from three_mode.agents.calling.host_answers import host_answers
from three_mode.agents.calling.refs import Verbs
from three_mode.agents.handlers.codec import decoder_for
from three_mode.agents.wire.orders import A2AHandler, A2AReport

log = logging.getLogger("three_mode.agents")
_reports = decoder_for(tuple[A2AReport, ...])


async def a2a_offers(verbs: Verbs, within: float) -> list[A2AReport]:
    """Return one report for each group, by name. A host that does not answer in time is left out, and delays nobody."""
    session = verbs._three_mode_caller.session
    answers = await host_answers(session.bus, session.hosts.values(), "a2a", _reports, within)
    found: dict[str, A2AReport] = {}
    for host, answer in answers.items():
        if isinstance(answer, Exception):
            log.warning("%s did not say which of its agents take messages of A2A: %s", host, answer)
            continue
        for report in answer:
            found[report.group] = _both(found.get(report.group), report)
    return [found[group] for group in sorted(found)]


def _both(one: A2AReport | None, other: A2AReport) -> A2AReport:
    """A group that lives in several hosts."""
    if one is None or one == other:
        return other
    handlers: dict[str, A2AHandler] = {handler.name: handler for handler in (*one.handlers, *other.handlers)}
    return msgspec.structs.replace(other, is_model=one.is_model or other.is_model, handlers=tuple(handlers.values()))
