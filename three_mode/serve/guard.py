"""Who may ask: keys, web pages of other origins, and names that lead to loopback. Pure.

A web page can send requests to a server on its reader's own machine, and a hostile name can be made to point there. So
a request that names another origin is refused, and an endpoint without keys answers only to the names of loopback.
"""

import ipaddress
import re
from collections.abc import Callable
from functools import lru_cache

from three_mode.page.session import key_matches, token_of
from three_mode.serve.faults import EndpointFault, fault
from three_mode.serve.options import ServeOptions
from three_mode.serve.proxy import PROTO, last_word, scheme_of

SUBPROTOCOL = "three-mode.events"
# A browser's WebSocket cannot set headers: the key rides as a second subprotocol, `bearer.KEY`.
_BEARER_PROTOCOL = "bearer."
_OF_PAGES = ("/page/", "/v1/", "/mcp")  # beginnings of paths that a page's cookie opens
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]]+))(?::[0-9]*)?")


def refusal(
    options: ServeOptions, header: Callable[[bytes], str | None], holds: Callable[[str], bool] | None = None
) -> EndpointFault | None:
    """Why this request is not answered; None if it is. `holds`: whether a cookie's token stands for a key, where one
    may (`session_for`)."""
    refused = stranger(options, header)
    if refused is not None or not options.api_keys:
        return refused
    given = given_key(header)
    if given is None:
        token = None if holds is None else token_of(header(b"cookie"), header(b"host"))
        if holds is not None and token and holds(token):
            return None
        return fault(401, "this endpoint needs an API key: Authorization: Bearer KEY, or x-api-key", "missing_api_key")
    return None if key_matches(given, options.api_keys) else fault(401, "wrong API key", "invalid_api_key")


def stranger(options: ServeOptions, header: Callable[[bytes], str | None]) -> EndpointFault | None:
    """Why a request is not answered whatever key it brings: it is of another origin, or by a name that is not ours."""
    origin = header(b"origin")
    if origin is not None and not _origin_is_ours(options, origin, header):
        return fault(403, "web pages of other origins may not use this endpoint", "origin_refused")
    if not options.api_keys and not _names_loopback(header(b"host")):
        return fault(403, "without API keys this endpoint answers to names of loopback only", "host_refused")
    return None


def session_for(
    holds: Callable[[str], bool], method: str, path: str, header: Callable[[bytes], str | None]
) -> Callable[[str], bool]:
    """`holds` for a request, which is false where a page's cookie may not stand for a key. Nothing is looked at until
    there is a cookie to be judged: most requests bring a key.

    A browser sends the cookie along with what pages of other ports of this machine ask for, too: so the request names
    our own page as its origin, or only reads and does not come from another page.
    """
    return lambda token: _may_stand(method, path, header) and holds(token)


def _may_stand(method: str, path: str, header: Callable[[bytes], str | None]) -> bool:
    """Whether a cookie may stand for a key in this request."""
    if not path.startswith(_OF_PAGES):
        return False
    origin = header(b"origin")
    if origin is not None:
        return origin.partition("://")[2] == header(b"host")
    return method in ("GET", "HEAD") and header(b"sec-fetch-site") in (None, "same-origin", "none")


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
