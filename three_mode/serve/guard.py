"""Who may ask: keys, web pages of other origins, and names that lead to loopback. Pure.

A web page can send requests to a server on its reader's own machine, and a hostile name can be made to point there. So
a request that names another origin is refused, and an endpoint without keys answers only to the names of loopback.
"""

import hmac
import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache

from three_mode.serve.faults import EndpointFault, fault
from three_mode.serve.options import ServeOptions
from three_mode.serve.proxy import PROTO, last_word, scheme_of

SUBPROTOCOL = "three-mode.events"
# A browser's WebSocket cannot set headers: the key rides as a second subprotocol, `bearer.KEY`.
_BEARER_PROTOCOL = "bearer."
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]]+))(?::[0-9]*)?")


def refusal(options: ServeOptions, header: Callable[[bytes], str | None]) -> EndpointFault | None:
    """Why this request is not answered; None if it is."""
    origin = header(b"origin")
    if origin is not None and not _origin_is_ours(options, origin, header):
        return fault(403, "web pages of other origins may not use this endpoint", "origin_refused")
    if not options.api_keys:
        if not _names_loopback(header(b"host")):
            return fault(403, "without API keys this endpoint answers to names of loopback only", "host_refused")
        return None
    given = given_key(header)
    if given is None:
        return fault(401, "this endpoint needs an API key: Authorization: Bearer KEY, or x-api-key", "missing_api_key")
    # Each key is compared, and in constant time, so that the time says nothing of how near a guess was.
    told, matches = given.encode(), False
    for key in _encoded(options.api_keys):
        matches |= hmac.compare_digest(told, key)
    return None if matches else fault(401, "wrong API key", "invalid_api_key")


@lru_cache(maxsize=16)
def _encoded(keys: frozenset[str]) -> tuple[bytes, ...]:
    return tuple(key.encode() for key in keys)


def subprotocol(offered: str | None) -> str | None:
    """The one we speak, if the client offered it; a client that offers none gets none."""
    return SUBPROTOCOL if offered and SUBPROTOCOL in _words(offered) else None


def given_key(header: Callable[[bytes], str | None]) -> str | None:
    """The key that a request brings, whether it is right or not."""
    authorization = header(b"authorization")
    if authorization is not None:
        scheme, _, key = authorization.partition(" ")
        return (key.strip() or None) if scheme.lower() == "bearer" else None
    alone = header(b"x-api-key")  # as clients of Anthropic's API send it
    if alone is not None:
        return alone.strip() or None
    for word in _words(header(b"sec-websocket-protocol") or ""):
        if word.startswith(_BEARER_PROTOCOL):
            return word.removeprefix(_BEARER_PROTOCOL)
    return None


def _origin_is_ours(options: ServeOptions, origin: str, header: Callable[[bytes], str | None]) -> bool:
    if origin in options.allowed_origins:
        return True
    host = header(b"host")
    scheme = scheme_of(last_word(header(PROTO) or "")) if options.behind_proxy else None
    ours = ("http", "https") if scheme is None else (scheme,)
    return host is not None and origin in [f"{each}://{host}" for each in ours]


@lru_cache(maxsize=256)  # clients name the same place again and again
def _names_loopback(host: str | None) -> bool:
    if host is None:
        return True  # HTTP/1.0, or an :authority that the server did not hand on: no browser sends that
    # The whole of it must be a name and a port: `[::1].evil.example` begins as loopback does, and leads elsewhere.
    found = _HOST.fullmatch(host)
    if found is None:
        return False
    name = found["six"] or found["name"]
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",")]
