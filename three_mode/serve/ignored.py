"""What the reply says of fields that changed no answer: those that whoever answered did not know. Pure.

One place for the surfaces: `sent` finds such fields in a body, and `ignored` names those that did nothing.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from three_mode.modes import CommunicationMode
from three_mode.providers.catalogue import find_provider, profile_of
from three_mode.providers.without_effect import WITHOUT_EFFECT, knows

Sent = Mapping[str, Any]
"""Fields without effect that a client sent, by the names that it knows them by."""
NOTHING_SENT: Sent = {}


def sent(body: Mapping[str, Any], besides: Iterable[str] = ()) -> Sent:
    """The fields of a body that change no answer and say something; those in `besides` do something here."""
    names = WITHOUT_EFFECT & body.keys()
    if not names:
        return NOTHING_SENT
    return {name: body[name] for name in body if name in names and body[name] is not None and name not in besides}


def ignored(fields: Sent, mode: CommunicationMode, provider: str) -> tuple[str, ...]:
    """The names of those that did nothing. Models of this computer and agents know none of them."""
    if not fields:
        return ()
    if mode is not CommunicationMode.HUMAN_AI:
        return tuple(fields)
    known = find_provider(provider)
    wire = profile_of(known).wire if known is not None else "openai"
    return tuple(
        name
        for name, value in fields.items()
        if not knows(wire, name.rpartition(".")[2], value) or (name == "prompt_cache_key" and known != "openai")
    )
