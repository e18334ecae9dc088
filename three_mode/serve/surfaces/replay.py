"""A recording over HTTP: `/page/replay/`, places and turns of it; and `/page/time/request`, what a request took, of a
recording (`at=`) or of the running system (`id=`)."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from three_mode.page.files import GUARDS
from three_mode.page.recordings.film import Film
from three_mode.page.spans import MEASURES, Measure, RequestTree, laid_out
from three_mode.serve.asgi import JSON, AsgiExchange, Refused
from three_mode.serve.endpoint import EndpointState
from three_mode.serve.faults import fault
from three_mode.serve.live_page import live_page
from three_mode.serve.routes import PathRoute

_HEADERS = (JSON, (b"cache-control", b"no-store"), *GUARDS)
Asked = Mapping[str, str]


class ReplaySurface:
    """The recording that the page shows. What reads the file does so in a thread."""

    def __init__(self, endpoint: EndpointState) -> None:
        self._endpoint = endpoint

    def routes(self) -> Sequence[PathRoute]:
        reads: dict[str, Callable[[Film, Asked], Any]] = {
            "/page/replay/film": lambda film, _: film.about(),
            "/page/replay/records": _records,
            "/page/replay/step": _step,
            "/page/replay/time": lambda film, asked: {"place": film.at_time(_seconds(asked))},
            "/page/replay/turn": lambda film, asked: film.turn(_place(film, asked)),
            "/page/replay/agents": lambda film, asked: {"states": film.agents(_place(film, asked))},
        }
        return (
            *(PathRoute("GET", path, partial(self._read, read)) for path, read in reads.items()),
            PathRoute("", "/page/replay/divergence", self._divergence),
            PathRoute("GET", "/page/time/request", self._request),
        )

    async def _read(self, read: Callable[[Film, Asked], Any], exchange: AsgiExchange) -> str:
        film, asked = self._film(), _asked(exchange)
        await _answer(exchange, lambda: read(film, asked))
        return ""

    async def _request(self, exchange: AsgiExchange) -> str:
        asked = _asked(exchange)
        if "id" not in asked:
            return await self._read(_recorded_request, exchange)
        requests = None if self._endpoint.page is None else self._endpoint.shared(live_page).requests
        tree = None if requests is None else requests.log.tree(asked["id"])
        if tree is None:
            raise Refused(fault(404, f"the request {asked['id'][:200]} is not kept any more", "no_such_request"))
        await _answer(exchange, lambda: _drawn(tree, _measure(asked)))
        return ""

    async def _divergence(self, exchange: AsgiExchange) -> str:
        """GET: what is known of it. POST: replay, where the one who opened the recording said what may be imported."""
        film = self._film()
        if exchange.method == "POST":
            if not film.imports:
                why = "a replay runs the program's code: three-mode watch FILE --import MODULE says which"
                raise Refused(fault(403, why, "no_imports"))
            film.divergence.begin()
        elif exchange.method != "GET":
            raise Refused(fault(405, "/page/replay/divergence takes GET and POST", "method_not_allowed"))
        await exchange.answer(200, msgspec.json.encode(film.divergence.found), _HEADERS)
        return ""

    def _film(self) -> Film:
        content = self._endpoint.page
        if content is None or content.recording is None:
            why = "this endpoint shows no recording: three-mode watch run.rec"
            raise Refused(fault(404, why, "no_such_path"))
        return content.recording


def _records(film: Film, asked: Asked) -> Any:
    at = _place(film, asked)
    return {"records": film.lines(at, _number(asked, "before", 20), _number(asked, "after", 60))}


def _step(film: Film, asked: Asked) -> Any:
    way, what = asked.get("way", "next"), asked.get("what", "message")
    if way not in ("next", "previous") or what not in ("message", "record"):
        raise ValueError("way is next or previous, and what is message or record")
    at = _number(asked, "at", 0)
    return {"place": film.step(at, asked.get("agent", ""), back=way == "previous", message=what == "message")}


async def _answer(exchange: AsgiExchange, made: Callable[[], Any]) -> None:
    """Answers with what is made in a thread; a ValueError says what was wrong with the question."""
    try:
        body = await asyncio.to_thread(lambda: msgspec.json.encode(made()))
    except ValueError as error:
        raise Refused(fault(400, str(error), "invalid_request")) from None
    await exchange.answer(200, body, _HEADERS)


def _asked(exchange: AsgiExchange) -> Asked:
    return dict(parse_qsl(exchange.query.decode("latin-1")))


def _recorded_request(film: Film, asked: Asked) -> Any:
    by = _measure(asked)
    return _drawn(film.request(_place(film, asked)), by)


def _drawn(tree: RequestTree, by: Measure) -> Any:
    return {"tree": tree, "boxes": laid_out(tree, by)}


def _measure(asked: Asked) -> Measure:
    by = next((measure for measure in MEASURES if measure == asked.get("by", "time")), None)
    if by is None:
        raise ValueError(f"by is one of {', '.join(MEASURES)}")
    return by


def _place(film: Film, asked: Asked) -> int:
    """The place that is asked for, which has a record."""
    at = _number(asked, "at", 0)
    if not 0 <= at < film.records:
        raise ValueError(f"there is no record {at}: the recording has {film.records}")
    return at


def _number(asked: Asked, name: str, default: int) -> int:
    try:
        return int(asked.get(name, default))
    except ValueError:
        raise ValueError(f"{name} is a whole number") from None


def _seconds(asked: Asked) -> float:
    try:
        return float(asked["when"])
    except (KeyError, ValueError):
        raise ValueError("when is a time, in seconds since 1970") from None
