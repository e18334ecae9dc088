"""What goes wrong around a page: strangers, slow readers, many that come and go, systems that end meanwhile."""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.support.agents.until import until
from tests.support.serve.devtools import Chromium
from tests.support.serve.endpoint import endpoint
from tests.support.serve.page_cast import Scout
from tests.support.serve.page_client import let_in
from tests.support.serve.watched import watched
from three_mode.agents import Orchestrator
from three_mode.page.feed import Feed
from three_mode.page.readers import PageReader
from three_mode.serve.live_page import live_page

pytestmark = pytest.mark.timeout(180)
ROOT = Path(__file__).resolve().parents[3]


def feed_of(orc: Orchestrator) -> Feed:
    opened = orc._page
    assert opened is not None
    return opened.result().app.endpoint.shared(live_page).feed  # type: ignore[no-any-return]


async def test_the_cookie_is_for_our_own_page_alone() -> None:
    async with watched(1) as (_, _, address), let_in(address) as page:
        http, origin = page.http, page.origin
        port = origin.rpartition(":")[2]
        given = await http.post(
            "/page/session", json={"key": address.partition("#key=")[2]}, headers={"origin": origin}
        )
        words = {word.strip() for word in given.headers["set-cookie"].split(";")[1:]}
        assert words == {"Path=/", "HttpOnly", "SameSite=Strict"}
        assert f"three_mode_page_{port}=" in given.headers["set-cookie"]
        stranger = "http://127.0.0.1:9"  # a page of another port of this machine is of the same site
        act = {"act": "pause", "names": ["scout/0"]}
        for headers in ({}, {"sec-fetch-site": "same-origin"}):
            assert (await http.post("/page/steer", json=act, headers=headers)).status_code == 401, "no origin is named"
        assert (await http.post("/page/steer", json=act, headers={"origin": stranger})).status_code == 403
        body = '{"act": "pause", "names": ["scout/0"]}'
        form = await http.post("/page/steer", content=body, headers={"origin": origin, "content-type": "text/plain"})
        assert form.status_code == 415, "what a form can send"
        assert (await http.get("/page/about", headers={"sec-fetch-site": "same-site"})).status_code == 401
        assert (await http.get("/page/about")).status_code == 200
        assert (await http.get("/metrics")).status_code == 401, "the cookie opens no other path"
        assert (await http.get("/v1/models", headers={"sec-fetch-site": "same-origin"})).status_code == 200
        await http.delete("/page/session", headers={"origin": origin})
        http.cookies.set(f"three_mode_page_{port}", "gone")
        assert (await http.get("/page/about")).status_code == 401


async def test_sockets_of_strangers_are_refused() -> None:
    async with watched(1) as (_, _, address), let_in(address) as page:
        url = page.origin.replace("http", "ws") + "/page/live"
        (name, token), *_ = page.http.cookies.items()
        cookie = f"{name}={token}"
        for headers, origin in (
            ({}, page.origin),
            ({"cookie": f"{name}=wrong"}, page.origin),
            ({"cookie": cookie}, "http://127.0.0.1:9"),
            ({"cookie": cookie}, None),
        ):
            with pytest.raises(InvalidStatus):
                async with connect(url, additional_headers=headers, origin=origin):  # type: ignore[arg-type]
                    pass
        async with connect(url, additional_headers={"cookie": cookie}, origin=page.origin):  # type: ignore[arg-type]
            pass


async def test_static_files_are_kept_by_browsers_and_hold_no_markup_of_others() -> None:
    async with watched(1) as (_, _, address), httpx.AsyncClient(base_url=address.partition("/#")[0]) as http:
        page = await http.get("/")
        assert "script-src 'self'" in page.headers["content-security-policy"]
        script = next(line for line in page.text.splitlines() if "app.js" in line and "<script" in line)
        path = script.partition('src="')[2].partition('"')[0]
        found = await http.get(path)
        assert found.headers["content-type"].startswith("text/javascript")
        assert "immutable" in found.headers["cache-control"]
        again = await http.get(path, headers={"if-none-match": found.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        for wrong in ("/page/static/../session.py", "/page/static/%2e%2e/session.py", "/page/static/none.js"):
            assert (await http.get(wrong)).status_code in (401, 404)


async def test_a_page_that_does_not_read_loses_the_oldest_and_is_told_how_many() -> None:
    async with watched(3) as (orc, _, address), let_in(address) as page:
        await page.look("map")
        await page.told("table")
        feed = feed_of(orc)
        (reader,) = feed.readers
        page.socket.transport.pause_reading()
        said = 0
        while reader.lost < 10:
            feed.say({"kind": "filler", "number": said, "text": "x" * 200_000})
            said += 1
            await asyncio.sleep(0)
            assert said < 2000
        page.socket.transport.resume_reading()
        gap = await page.told("gap")
        assert gap["count"] >= 10
        assert (await page.told("filler"))["number"] > 0, "the newest are there"
        table = await page.told("table")
        assert len(table["agents"]["name"]) == 3, "after a gap comes the whole table"


async def test_a_slow_page_says_on_its_face_that_it_skipped_something(browser: Chromium) -> None:
    async with watched(3) as (orc, _, address), browser.page(address) as page:
        await page.until("document.querySelectorAll('table.agents tbody tr').length === 3")
        (reader,) = feed_of(orc).readers
        busy = asyncio.ensure_future(
            page.evaluate("(() => { const end = Date.now() + 3000; while (Date.now() < end); })()")
        )
        said = 0
        while reader.lost < 1 and not busy.done():
            feed_of(orc).say({"kind": "filler", "text": "x" * 200_000})
            said += 1
            await asyncio.sleep(0)
        await busy
        assert reader.lost, f"{said} messages were not enough to fill what is between"
        await page.until("document.querySelector('.gap')?.innerText.includes('updates skipped')")
        await page.until("document.querySelector('.state').innerText.startsWith('live')")


async def test_a_hundred_pages_that_come_and_go_leave_nothing() -> None:
    async with watched(3) as (orc, scouts, address), let_in(address) as first:
        await first.told("hello")
        (name, token), *_ = first.http.cookies.items()
        url, headers = first.origin.replace("http", "ws") + "/page/live", {"cookie": f"{name}={token}"}
        before = len(asyncio.all_tasks())
        look = '{"kind": "look", "at": ["map", "flows", "agent", "events"], "agent": "scout/1"}'

        async def come_and_go() -> None:
            async with connect(url, additional_headers=headers, origin=first.origin) as socket:  # type: ignore[arg-type]
                await socket.send(look)
                for _ in range(3):
                    await asyncio.wait_for(socket.recv(), 20)

        for _ in range(10):
            await asyncio.gather(*(come_and_go() for _ in range(10)))
        feed = feed_of(orc)
        await until(lambda: len(feed.readers) == 1 and not feed.running)
        await until(lambda: len(asyncio.all_tasks()) <= before)
        population = orc._population
        assert population is not None
        await until(lambda: population.watch is None, 10.0)
        gc.collect()
        assert sum(isinstance(one, PageReader) for one in gc.get_objects()) == 1
        assert await scouts[1].ask(Scout.score, "still") == 5.0


async def test_too_many_pages_at_once_are_turned_away() -> None:
    async with watched(1) as (orc, _, address), let_in(address) as first:
        feed_of(orc)._most = 1
        (name, token), *_ = first.http.cookies.items()
        url, headers = first.origin.replace("http", "ws") + "/page/live", {"cookie": f"{name}={token}"}
        async with connect(url, additional_headers=headers, origin=first.origin) as socket:  # type: ignore[arg-type]
            with pytest.raises(ConnectionClosed, match="too many pages"):
                await socket.recv()


@asynccontextmanager
async def program(*words: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A program in a process group of its own, and its first line; both end with the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, cwd=ROOT, stdout=asyncio.subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    try:
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip()
        assert line, "it ended before it was ready"
        yield process, line
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


async def test_an_orchestrator_that_is_killed_while_it_is_watched_is_said_and_its_successor_is_shown() -> None:
    bus = f"page-{uuid4().hex[:8]}"
    agents = ("-m", "tests.support.serve.page_program", bus)
    async with program(*agents) as (orchestrator, _):
        async with program("-m", "three_mode.cli", "watch", bus, "--no-open") as (watch, address):
            async with let_in(address) as page:
                await page.look("map")
                assert len((await page.told("table"))["agents"]["name"]) == 3
                orchestrator.kill()
                await orchestrator.wait()
                problem = await page.told("problem")
                assert "orchestrator" in problem["why"]
                assert (await page.steer("pause", "scout/0")).status_code >= 400
                async with program(*agents):
                    await page.told("table", lambda told: len(told["agents"]["name"]) == 3)
            watch.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(watch.wait(), 20) == 0


async def test_an_endpoint_without_a_bus_has_no_page() -> None:
    async with endpoint() as found, httpx.AsyncClient(base_url=found.url) as http:
        assert (await http.get("/")).status_code == 404
        assert (await http.get("/page/about")).status_code == 404


async def test_without_keys_a_page_looks_on_and_does_not_steer() -> None:
    async with Orchestrator(hosts=0) as orc, endpoint(agents=orc) as found:
        await orc.spawn(Scout, 2, name="scout")
        async with httpx.AsyncClient(base_url=found.url) as http:
            assert (await http.get("/page/about")).json()["may_steer"] is False
            act = {"act": "pause", "names": ["scout/0"]}
            refused = await http.post("/page/steer", json=act, headers={"origin": found.url})
            assert refused.status_code == 403
            assert "--api-key-file" in refused.json()["error"]["message"]
            assert (await http.get("/", headers={"host": "evil.example"})).status_code == 200, "files say nothing"
            assert (await http.get("/page/about", headers={"host": "evil.example"})).status_code == 403
