"""The map and the events in a real browser: by keyboard, at 400 pixels, with names that would like to be markup."""

import asyncio
import logging

import pytest

from tests.support.serve.devtools import Chromium
from tests.support.serve.page_cast import Scout
from tests.support.serve.watched import watched
from three_mode.agents import OrchestratorOptions
from three_mode.errors import HandlerFailed

pytestmark = pytest.mark.timeout(180)
MARKUP = '<img/src=x/onerror="window.hacked=1">'
FRAMES = "+document.querySelector('.cells canvas').dataset.frames"


async def test_by_keyboard_one_finds_an_agent_pauses_it_and_sees_it_in_the_events(browser: Chromium) -> None:
    async with watched(12) as (orc, scouts, address), browser.page(address) as page:
        await page.until("document.querySelectorAll('table.agents tbody tr').length === 12")
        await page.until(f"{FRAMES} > 0")
        await page.evaluate("document.querySelector('.cells canvas').focus()")
        await page.press("ArrowRight", "ArrowRight", "ArrowRight")
        await page.until("document.querySelector('#cell-said').innerText.startsWith('scout/2 on host-0: idle')")
        await page.press("Enter")
        await page.until("document.activeElement.id === 'agent-name' && location.hash === '#/map/scout/2'")
        await page.until("document.querySelector('aside.agent').innerText.includes('page_cast.py:')")
        await scouts[2].ask(Scout.score, "hello")
        await page.until(
            "document.querySelector('aside.agent table:nth-of-type(2)')?.innerText.includes('orchestrator')"
        )
        await page.evaluate("document.querySelector('aside button.pause').focus()")
        await page.press("Enter")
        await page.until("document.querySelector('dialog[open]')?.innerText.includes('Pause scout/2?')")
        await page.press("Escape")
        await page.until("!document.querySelector('dialog[open]')")
        assert {agent.name: agent.state for agent in (await orc.table()).agents}["scout/2"] == "idle", "it asks first"
        await page.evaluate("document.querySelector('aside button.pause').focus()")
        await page.press("Enter")
        await page.until("document.querySelector('dialog[open]')")
        await page.evaluate("document.querySelector('dialog button.act').focus()")
        await page.press("Enter")
        await page.until("!document.querySelector('dialog[open]') && document.querySelector('aside button.resume')")
        assert {agent.name: agent.state for agent in (await orc.table()).agents}["scout/2"] == "paused"
        await page.press("Escape")
        await page.evaluate("location.hash = '#/events'")
        await page.until("document.querySelector('td.kind.steered')?.parentElement.innerText.includes('pause scout/2')")
        assert page.complaints == []


async def test_many_agents_are_chosen_by_range_group_and_filter_and_steered_at_once(
    browser: Chromium, caplog: pytest.LogCaptureFixture
) -> None:
    async with watched(8) as (orc, _, address):
        await orc.spawn(Scout, 3, name="clerk")
        async with browser.page(address, height=1600) as page:
            said = "document.querySelector('.chosen-agents [role=status]').innerText"
            await page.until("document.querySelectorAll('table.agents tbody tr').length === 11")
            await page.evaluate("document.querySelector('.cells canvas').focus()")
            await page.press("Home", " ")
            await page.press("ArrowRight", "ArrowRight", shift=True)
            await page.until(f"{said} === '3 agents are chosen'")
            assert "clerk/2 on host-0, chosen: idle" in await page.text("#cell-said")
            await page.press("Escape")
            await page.until(f"{said} === '0 agents are chosen'")
            await page.click("input[aria-label='Choose scout/1']")
            await page.evaluate("document.querySelector(\"input[aria-label='Choose scout/4']\").focus()")
            await page.press(" ", shift=True)
            await page.until(f"{said} === '4 agents are chosen'")
            await page.evaluate(
                "(() => { const group = document.querySelector('select.group'); group.value = 'clerk';"
                "group.dispatchEvent(new Event('change', {bubbles: true})); })()"
            )
            await page.until(f"{said} === '7 agents are chosen'")
            await page.click(".chosen-agents button.pause")
            await page.until("document.querySelector('dialog[open] h2')?.innerText === 'Pause 7 agents?'")
            assert "clerk/0" in await page.text("dialog .names")
            await page.click("dialog button.act")
            await page.until("!document.querySelector('dialog[open]')")
            paused = sorted(agent.name for agent in (await orc.table()).agents if agent.state == "paused")
            assert paused == [f"clerk/{number}" for number in range(3)] + [f"scout/{number}" for number in range(1, 5)]
            await page.evaluate("document.querySelector('form.filter input').focus()")
            await page.type("paused")
            await page.until("document.querySelectorAll('table.agents tbody tr').length === 7")
            await page.click(".chosen-agents button.clear")
            await page.click(".chosen-agents button")
            await page.until(f"{said} === '7 agents are chosen'")
            await page.click(".chosen-agents button.stop")
            await page.until("!!document.querySelector('dialog[open]')")
            await page.click("dialog button.act")
            await page.until(f"{said} === '0 agents are chosen'")
            assert len((await orc.table()).agents) == 4
            assert page.complaints == []
    logged = [record.getMessage() for record in caplog.records if record.name == "three_mode.page"]
    assert ["pause 7 of them: scout/1" in text for text in logged] == [True, False]
    assert "stop 7 of them: clerk/0" in logged[1]


async def test_what_agents_say_is_text_and_never_markup(browser: Chromium) -> None:
    options = OrchestratorOptions(page_content=True)
    async with watched(1, options=options) as (orc, _, address):
        group = MARKUP.replace("/", "&#47;")
        named = await orc.spawn(Scout, 2, name=group)
        async with browser.page(f"{address}") as page:
            await page.until("document.querySelectorAll('table.agents tbody tr').length === 3")
            await page.evaluate(
                "[...document.querySelectorAll('table.agents a')].find((a) => a.innerText.startsWith('<img')).click()"
            )
            await page.until("document.querySelector('aside.agent')?.innerText.includes('Handlers')")
            with pytest.raises(HandlerFailed):
                await named[0].ask(Scout.score, f"fail {MARKUP}<script>window.hacked=1</script>")
            await named[0].tell(Scout.score, f"fail {MARKUP}")
            await orc.ref(named[0].name).tell("nothing", MARKUP)
            await page.until("document.querySelector('aside.agent').innerText.includes('onerror')")
            logging.getLogger("page").warning("%s", MARKUP)
            await page.evaluate("location.hash = '#/events'")
            await page.until(
                "document.querySelector('td.kind.dead_letter')?.parentElement.innerText.includes('onerror')"
            )
            await page.until(
                "document.querySelector('td.kind.handler_raised')?.parentElement.innerText.includes('<img')"
            )
            assert await page.evaluate("window.hacked === undefined")
            assert await page.evaluate("document.querySelectorAll('img, main script').length") == 0
            assert page.complaints == []


async def test_events_are_filtered_by_kind_agent_and_text(browser: Chromium) -> None:
    async with watched(3) as (orc, scouts, address), browser.page(address + "") as page:
        await page.until("document.querySelectorAll('table.agents tbody tr').length === 3")
        await page.evaluate("location.hash = '#/events'")
        await orc.restart(scouts[1])
        await orc.restart(scouts[2])
        await orc.ref("scout/0").tell("nothing", "x")
        await page.until("document.querySelectorAll('.events tbody tr').length === 3")
        await page.evaluate("document.querySelector('.events input').focus()")
        await page.type("scout/1")
        await page.until("document.querySelectorAll('.events tbody tr').length === 1")
        assert "scout/1" in await page.text(".events tbody")
        await page.evaluate(
            "(() => { const kind = document.querySelector('.events select'); kind.value = 'dead_letter';"
            "kind.dispatchEvent(new Event('change', {bubbles: true})); })()"
        )
        await page.until("document.querySelectorAll('.events tbody tr').length === 0")


async def test_it_fits_400_pixels_and_the_dark(browser: Chromium) -> None:
    async with (
        watched(40) as (_, _, address),
        browser.page(address, width=400, prefers_color_scheme="dark", prefers_reduced_motion="reduce") as page,
    ):
        await page.until("document.querySelectorAll('table.agents tbody tr').length === 40")
        await page.until(f"{FRAMES} > 0")
        for place in ("#/map", "#/map/scout/3", "#/events"):
            await page.evaluate(f"location.hash = '{place}'")
            await asyncio.sleep(0.2)
            assert await page.evaluate("document.documentElement.scrollWidth") <= 400, place
        assert await page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"
        tables = await page.evaluate(
            "[...document.querySelectorAll('table')].every((table) => table.caption"
            " && [...table.querySelectorAll('th')].every((head) => head.scope))"
        )
        assert tables, "each table has a caption, and its headings say what they head"
