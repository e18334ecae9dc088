"""A recording in a real browser: steps by keys and buttons, turns, states, requests as flame graphs, and no markup."""

from pathlib import Path

import pytest

from tests.support.page.opened import opened
from tests.support.page.recordings import BEGAN, made, message, run, write
from tests.support.serve.devtools import Chromium, Page
from three_mode.agents.handlers.codec import encode
from three_mode.agents.recording.events import Did, Ended, Event, Got

pytestmark = pytest.mark.timeout(180)

EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script>"
AT = "Number(document.querySelector('canvas.timeline')?.getAttribute('aria-valuenow'))"
CURRENT = "(document.querySelector('.lines tr[aria-current]')?.innerText ?? '')"


def request() -> list[Event]:
    """One request over two agents, one of which fails."""
    what = encode(["scout/1", "score", encode(["tea"])])
    return [
        made("scout/0"),
        made("scout/1"),
        Got("scout/0", BEGAN + 0.1, 1, "score", encode(["tea"]), False, False, "cli/1"),
        Got("scout/1", BEGAN + 0.2, 1, "score", encode(["tea"]), False, False, "scout/0"),
        Ended("scout/1", BEGAN + 0.5, 1, "error", encode("ValueError: tea")),
        Did("scout/0", BEGAN + 0.6, 1, "ask", what, b"", False),
        Ended("scout/0", BEGAN + 1.0, 1, "result", encode(None)),
    ]


async def at(tab: Page, place: int) -> None:
    await tab.until(f"{AT} === {place} && {CURRENT}.startsWith('{place}')")


async def test_keys_step_through_a_run(browser: Chromium, tmp_path: Path) -> None:
    path = write(tmp_path / "run.rec", run(3000, agents=40))
    async with opened(path) as address, browser.page(address) as tab:
        await tab.until("location.hash === '#/replay/0' && !!document.querySelector('.lines')")
        assert "run.rec" in await tab.text("header")
        for key, place in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 40 + 8999), ("Home", 0)):
            await tab.press(key)
            await at(tab, place)
        await tab.press("n")  # the next message of scout/0, which the run begins with
        await at(tab, 40)
        assert "scout/0" in await tab.text(".turn h2")
        assert "ask quote → market/0" in await tab.text(".turn")
        await tab.press("n")
        await at(tab, 40 + 3 * 40)
        await tab.press("p")
        await at(tab, 40)
        await tab.until("document.querySelectorAll('.states tbody tr').length === 40")
        await tab.until("document.querySelector('.states tr.busy th').innerText === 'scout/0'")
        await tab.press(" ")
        await tab.until(f"{AT} > 42")
        await tab.press(" ")
        stopped = await tab.evaluate(AT)
        assert await tab.text(".steps button:nth-child(2)") == "Play"
        await tab.click("canvas.timeline")
        await tab.until(f"Math.abs({AT} - 4540) < 200")
        assert stopped != await tab.evaluate(AT)
        assert await tab.evaluate("document.querySelector('.steps button[title^=three-mode]').disabled")
        assert tab.complaints == []


async def test_a_request_is_a_flame_graph_with_a_table_beside_it(browser: Chromium, tmp_path: Path) -> None:
    async with opened(write(tmp_path / "one.rec", request())) as address, browser.page(address) as tab:
        await tab.until("!!document.querySelector('.lines')")
        await tab.evaluate("location.hash = '#/time/3'")
        await tab.until("document.querySelectorAll('table.spans tbody tr').length === 2")
        rows = await tab.evaluate("[...document.querySelectorAll('table.spans tbody tr')].map(row => row.innerText)")
        assert rows[0].split("\t")[:5] == ["scout/0 score", "agent", "0.00 µs", "900 ms", "600 ms"]
        assert rows[1].split("\t")[:5] == ["scout/1 score", "agent", "100 ms", "300 ms", "300 ms"]
        await tab.evaluate("document.querySelector('canvas.flame').focus()")
        await tab.press("ArrowDown")
        await tab.until("document.querySelector('.chosen').innerText.startsWith('scout/1 score: 300 ms')")
        assert "failed" in await tab.text(".chosen")
        await tab.press("ArrowUp")
        await tab.until("document.querySelector('.chosen').innerText.startsWith('scout/0')")
        await tab.click("input[value=cost]")
        await tab.until("document.querySelector('.chosen').innerText.includes('score: $0, of its own')")
        await tab.click(".chosen a")
        await at(tab, 2)
        assert tab.complaints == []


async def test_nothing_recorded_becomes_markup(browser: Chromium, tmp_path: Path) -> None:
    events = [made(EVIL), *message(EVIL, 1, 0.1, EVIL, EVIL)]
    async with opened(write(tmp_path / "evil.rec", events)) as address, browser.page(address) as tab:
        await tab.until("!!document.querySelector('.states tbody tr')")
        await tab.press("n")
        await at(tab, 1)
        assert EVIL in await tab.text(".turn")
        await tab.evaluate("location.hash = '#/time/1'")
        await tab.until("!!document.querySelector('table.spans tbody tr')")
        assert EVIL in await tab.text("table.spans")
        assert await tab.evaluate("document.querySelectorAll('main img, main script').length") == 0
        assert tab.dialogs == []


@pytest.mark.parametrize("colours", ["dark", "light"])
async def test_it_fits_a_narrow_window(browser: Chromium, tmp_path: Path, colours: str) -> None:
    path = write(tmp_path / "run.rec", run(50))
    async with (
        opened(path) as address,
        browser.page(address, width=400, height=800, prefers_color_scheme=colours) as tab,
    ):
        await tab.until("!!document.querySelector('.states tbody tr')")
        assert await tab.evaluate("document.documentElement.scrollWidth") <= 400
        assert len(await tab.picture()) > 5000
