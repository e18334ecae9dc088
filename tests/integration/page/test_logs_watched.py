"""Log records of agents and of the program on a page, and that logging is as it was once nobody looks."""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.agents.until import until
from tests.support.serve.devtools import Chromium
from tests.support.serve.page_cast import Scout
from tests.support.serve.page_client import PageClient, let_in
from tests.support.serve.watched import watched
from three_mode.agents.supervisor.watched_logs import KEPT, WatchedLogs
from three_mode.agents.wire.watching import LogsOrder

pytestmark = pytest.mark.timeout(180)
MARKUP = '<img src=x onerror="window.hacked=1">'


@contextmanager
def no_logging() -> Iterator[logging.Logger]:
    """The root logger as in a program that has set up no logging."""
    found = logging.getLogger()
    handlers, level = found.handlers[:], found.level
    found.handlers[:] = []
    try:
        yield found
    finally:
        found.handlers[:] = handlers
        found.setLevel(level)


async def rows(page: PageClient, text: str) -> list[list[object]]:
    found: list[list[object]] = []
    while not found:
        found = [row for row in (await page.told("logs"))["rows"] if text in row[5]]
    return found


async def test_records_of_agents_and_of_the_program_are_told_with_who_logged_them() -> None:
    async with watched(3, hosts=1) as (_, scouts, address), let_in(address) as page:
        await page.look("logs")
        await page.told("logs")
        await scouts[2].ask(Scout.say, logging.WARNING, "from an agent")
        ((_, level, logger, host, agent, text, place, _),) = await rows(page, "from an agent")
        assert (level, logger, host, agent, text) == (30, "scouts.voice", "host-1", "scout/2", "from an agent")
        assert str(place).startswith("page_cast.py:")
        try:
            raise KeyError("lost")
        except KeyError:
            logging.getLogger("city").exception("in the program")
        ((_, level, _, host, agent, _, _, trace),) = await rows(page, "in the program")
        assert (level, host, agent) == (40, "", "")
        assert "KeyError: 'lost'" in str(trace)
        assert (await page.steer("log_level", "scouts", level="DEBUG")).status_code == 204
        await scouts[0].ask(Scout.say, logging.DEBUG, "in detail")
        ((*_, agent, _, _, _),) = await rows(page, "in detail")
        assert agent == "scout/0"
        logging.getLogger("scouts").setLevel(logging.NOTSET)


async def test_a_program_without_logging_prints_what_it_printed_and_can_still_set_it_up(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs, before, own = WatchedLogs(), logging.lastResort, logging.getLogger("city.own")
    with no_logging() as root:
        logs.asked(LogsOrder())
        logging.getLogger("city").warning("printed %d", 1)
        assert root.handlers == [], "basicConfig finds no handler"
        logging.basicConfig(format="set up: %(message)s")
        own.addHandler(logging.NullHandler())
        logs.asked(LogsOrder())
        own.warning("once")
        assert [one.text for one in logs.asked(LogsOrder()).records] == ["printed 1", "once"]
        assert capsys.readouterr().err == "printed 1\nset up: once\n"
        logs.end()
        own.warning("nobody looks")
        assert logging.lastResort is before
        left = [type(handler) for handler in (*root.handlers, *own.handlers)]
        assert left == [logging.StreamHandler, logging.NullHandler]
        assert logs.asked(LogsOrder()).records == ()
        logs.end()
        own.handlers.clear()


async def test_a_flood_loses_the_oldest_counts_them_and_keeps_warnings() -> None:
    with no_logging() as root:
        root.addHandler(logging.NullHandler())
        root.setLevel(logging.DEBUG)
        logs, city = WatchedLogs(), logging.getLogger("city")
        began = logs.asked(LogsOrder()).began
        city.error("the one that counts")
        for number in range(KEPT + 50):
            city.debug("flood %d", number)
        report = logs.asked(LogsOrder(began))
        assert (len(report.records), report.lost, report.last) == (KEPT + 1, 50, KEPT + 51)
        assert report.records[0].text == "the one that counts"
        assert logs.asked(LogsOrder(began, report.last)).records == ()
        city.info("long %s", "x" * 10_000)
        (long,) = logs.asked(LogsOrder(began, report.last)).records
        assert len(long.text) == 2000
        logs.end()
        assert len(root.handlers) == 1


async def test_the_list_filters_by_level_agent_and_text_and_shows_markup_as_text(browser: Chromium) -> None:
    async with watched(3) as (orc, scouts, address), browser.page(address) as page:
        await page.until("document.querySelectorAll('table.agents tbody tr').length === 3")
        await page.evaluate("location.hash = '#/logs'")
        await page.until("document.querySelector('.logs caption')?.innerText.startsWith('0 of 0')")
        assert orc._control_server is not None
        logs = orc._control_server._logs
        await until(lambda: logs.watching)
        await asyncio.sleep(0.1)
        await scouts[0].ask(Scout.say, logging.WARNING, "a warning")
        await scouts[1].ask(Scout.say, logging.ERROR, f"an error {MARKUP}")
        await scouts[1].ask(Scout.say, logging.ERROR, "another")
        count = "document.querySelectorAll('.logs tbody tr').length"
        await page.until(f"{count} === 3")
        await page.evaluate(
            "(() => { const level = document.querySelector('.logs select'); level.value = '40';"
            "level.dispatchEvent(new Event('change', {bubbles: true})); })()"
        )
        await page.until(f"{count} === 2")
        await page.evaluate("document.querySelectorAll('.logs input')[1].focus()")
        await page.type("ONERROR")
        await page.until(f"{count} === 1")
        assert "scout/1" in await page.text(".logs tbody tr")
        assert MARKUP in await page.text(".logs tbody tr")
        await page.evaluate("document.querySelectorAll('.logs input')[0].focus()")
        await page.type("scout/0")
        await page.until(f"{count} === 0")
        assert await page.evaluate("window.hacked === undefined && !document.querySelector('main img')")
        assert page.complaints == []
        await page.evaluate("location.hash = '#/map'")
        await until(lambda: not logs.watching, 10.0)
