"""The page over HTTP: `/`, its static files, its session, and what it is about. Its live part is a WebSocket."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import msgspec
from msgspec import Struct

from three_mode.page.files import ASK_AGAIN, GUARDS, StaticFile, static_files
from three_mode.page.session import cookie, key_matches, token_of
from three_mode.page.steering import Steer
from three_mode.serve import guard
from three_mode.serve.asgi import JSON, AsgiExchange, Headers, Refused
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.faults import fault
from three_mode.serve.live_page import live_page, no_page
from three_mode.serve.routes import PathRoute

STATIC = "/page/static/"
_NEVER_KEPT = (b"cache-control", b"no-store")
_BODY, _WITHIN = 1 << 20, 5.0  # bytes of a body, and seconds until it is here


class GivenKey(Struct, frozen=True):
    """The body of `POST /page/session`."""

    key: str


class PageFiles:
    """What anybody may read: the page and its files, which say nothing of the system; and the door, `/page/session`."""

    def __init__(self, endpoint: EndpointState) -> None:
        self._endpoint = endpoint

    def routes(self) -> Sequence[PathRoute]:
        return (
            PathRoute("GET", "/", self._page, public=True),
            PathRoute("GET", STATIC, self._file, public=True),
            PathRoute("", "/page/session", self._session, public=True),
        )

    async def _page(self, exchange: AsgiExchange) -> str:
        if self._endpoint.page is None:
            raise Refused(no_page())
        await _send(exchange, static_files().page, ASK_AGAIN)
        return ""

    async def _file(self, exchange: AsgiExchange) -> str:
        found = static_files().at(exchange.path.removeprefix(STATIC))
        if found is None:
            raise Refused(fault(404, f"the page has no file {exchange.path[:200]!r}", "no_such_path"))
        await _send(exchange, *found)
        return ""

    async def _session(self, exchange: AsgiExchange) -> str:
        refused = guard.stranger(self._endpoint.options, exchange.header)
        if refused is not None:
            raise Refused(refused)
        host, sessions = exchange.header(b"host"), self._endpoint.sessions
        if exchange.method == "DELETE":
            sessions.close(token_of(exchange.header(b"cookie"), host) or "")
            token = ""
        elif exchange.method == "POST":
            token = await self._opened(exchange)
        else:
            raise Refused(fault(405, "/page/session takes POST and DELETE", "method_not_allowed"))
        given = cookie(token, host, secure=exchange.scheme == "https")
        await exchange.answer(204, b"", ((b"set-cookie", given.encode("latin-1")), _NEVER_KEPT, *GUARDS))
        return ""

    async def _opened(self, exchange: AsgiExchange) -> str:
        """The token of a new session, for a key."""
        given = await read_json(exchange, self._endpoint, GivenKey, "a key")
        keys = self._endpoint.options.api_keys
        if not keys:
            raise Refused(fault(409, "this endpoint has no keys: --api-key-file FILE gives it some", "no_keys"))
        if not key_matches(given.key, keys):
            raise Refused(fault(401, "wrong API key", "invalid_api_key"))
        return self._endpoint.sessions.open()


class PageSurface:
    """What the page asks for beside its WebSocket, with a key or a session."""

    def __init__(self, endpoint: EndpointState) -> None:
        self._endpoint = endpoint

    def routes(self) -> Sequence[PathRoute]:
        return (PathRoute("GET", "/page/about", self._about), PathRoute("POST", "/page/steer", self._steer))

    async def _about(self, exchange: AsgiExchange) -> str:
        if self._endpoint.page is None:
            raise Refused(no_page())
        about = await self._endpoint.shared(live_page).about()
        await exchange.answer(200, msgspec.json.encode(about), (JSON, _NEVER_KEPT, *GUARDS))
        return ""

    async def _steer(self, exchange: AsgiExchange) -> str:
        if self._endpoint.page is None:
            raise Refused(no_page())
        if not self._endpoint.options.api_keys:
            raise Refused(fault(403, "to steer needs a key: give the endpoint --api-key-file FILE", "no_keys"))
        what = await read_json(exchange, self._endpoint, Steer, "what is to be done")
        await self._endpoint.shared(live_page).steer(what, self._who(exchange))
        await exchange.answer(204, b"", (_NEVER_KEPT, *GUARDS))
        return ""

    def _who(self, exchange: AsgiExchange) -> str:
        """Who asks, for the log: from where, and the beginning of what it proves itself with, hashed."""
        token = token_of(exchange.header(b"cookie"), exchange.header(b"host"))
        proof = guard.given_key(exchange.header) or token or ""
        mark = hashlib.sha256(proof.encode()).hexdigest()[:8]
        return f"{'session' if token else 'key'} {mark} from {exchange.client or 'somewhere'}"


Body = TypeVar("Body")


async def read_json(exchange: AsgiExchange, endpoint: EndpointState, kind: type[Body], what: str) -> Body:
    """The body of a request of the page; Refused where it is none. The content type is one that a form cannot send."""
    if not (exchange.header(b"content-type") or "").startswith("application/json"):
        raise Refused(fault(415, f"{what} is given as application/json", "not_json"))
    try:
        return msgspec.json.decode(await exchange.body(_BODY, _WITHIN, endpoint.bodies), type=kind)
    except (msgspec.MsgspecError, TimeoutError) as error:
        raise Refused(fault(400, f"{what}: {error}", "invalid_request")) from None


async def _send(exchange: AsgiExchange, file: StaticFile, kept: str) -> None:
    headers: Headers = (
        (b"etag", file.tag.encode()),
        (b"cache-control", kept.encode()),
        (b"vary", b"accept-encoding"),
        *GUARDS,
    )
    if file.tag in (exchange.header(b"if-none-match") or ""):
        await exchange.answer(304, b"", headers)
        return
    headers = ((b"content-type", file.kind.encode()), *headers)
    if file.packed and "gzip" in (exchange.header(b"accept-encoding") or ""):
        await exchange.answer(200, file.packed, ((b"content-encoding", b"gzip"), *headers))
    else:
        await exchange.answer(200, file.body, headers)
