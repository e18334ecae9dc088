"""The page in a real browser, over real agents: it opens with its key, shows them, and follows what happens."""

import asyncio

import pytest

from tests.support.serve.devtools import Chromium
from tests.support.serve.page_cast import Scout
from tests.support.serve.watched import watched

pytestmark = pytest.mark.timeout(180)


async def test_it_opens_with_the_key_of_its_address_and_follows_the_agents(browser: Chromium) -> None:
    async with watched(12) as (orc, scouts, address), browser.page(address) as page:
        await page.until("document.querySelectorAll('table.agents tbody tr').length === 12")
        assert await page.evaluate("location.hash") == "", "the key is taken out of the address"
        assert orc.name in await page.text("header")
        assert await page.text(".state") == "live"
        await scouts[3].ask(Scout.score, "hello")
        await page.until("[...document.querySelectorAll('table.agents tbody tr')][3].cells[6].innerText === '1'")
        assert page.complaints == []
        assert await orc.page() == address, "there is one page for each orchestrator"


async def test_without_a_key_it_shows_nothing_and_asks_for_one(browser: Chromium) -> None:
    async with watched(2) as (orc, _, address):
        where, key = address.split("#key=")
        async with browser.page(where) as page:
            await page.until("document.activeElement?.id === 'key'")
            assert orc.name not in await page.text()
            await page.type("a wrong one")
            await page.press("Enter")
            await page.until("document.body.innerText.includes('wrong API key')")
            await page.evaluate("document.querySelector('form.door input').value = ''")
            await page.type(key)
            await page.press("Enter")
            await page.until("document.querySelectorAll('table.agents tbody tr').length === 2")


async def test_the_system_that_ends_while_it_is_watched_is_said(browser: Chromium) -> None:
    async with watched(2) as (orc, _, address), browser.page(address) as page:
        await page.until("document.querySelectorAll('table.agents tbody tr').length === 2")
        await asyncio.wait_for(orc.aclose(), 10)
        await page.until("document.querySelector('.state').innerText.includes('lost')")
