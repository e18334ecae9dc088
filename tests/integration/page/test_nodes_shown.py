"""Nodes of a cluster on the page of one of them, with figures of the hosts of the others."""

import pytest

from tests.support.cluster.nodes import new_name, node
from tests.support.cluster.server import NatsServer
from tests.support.serve.devtools import Chromium
from tests.support.serve.page_cast import Scout

pytestmark = pytest.mark.timeout(180)


async def test_hosts_and_agents_of_other_nodes_are_shown_with_their_figures(browser: Chromium) -> None:
    name = new_name()
    async with NatsServer() as server, node(server.url, name, "near") as near, node(server.url, name, "far", 1) as far:
        await near.spawn(Scout, 1, name="home")
        scouts = await far.spawn(Scout, 2, name="scout")
        await near.bus.wait_for(["scout/0", "scout/1"], within=60)
        async with browser.page(await near.page()) as page:
            row = "document.querySelector('table.nodes tbody tr')"
            await page.until(f"{row}.cells[0].innerText === 'far'", 60)
            for _ in range(3):
                await scouts[1].ask(Scout.score, "hello")
            await page.until(f"{row}.cells[7].innerText === '3'")
            figures = await page.evaluate(f"[...{row}.cells].slice(3, 7).map((cell) => cell.innerText)")
            assert figures[:2] == ["1", "2"], "hosts and agents"
            assert [figure.split()[1] for figure in figures[2:]] == ["%", "MB"]
            assert "far: host-1" in await page.text("table.hosts")
            await page.evaluate("location.hash = '#/map/scout/1'")
            await page.until("document.querySelector('aside.agent')?.innerText.includes('its own page shows more')")
            assert not await page.evaluate("!!document.querySelector('aside.agent button.pause')")
            assert await page.evaluate("document.querySelectorAll('table.agents input[type=checkbox]').length") == 1
            assert page.complaints == []
