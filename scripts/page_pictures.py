"""Pictures of the page for the docs, of real agents in a real browser: `python -m scripts.page_pictures`.

It needs Debian's chromium, and Pillow to make the files small.
"""

import asyncio
import contextlib
import io
import json
import random
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from PIL import Image

from scripts._page_cast import Desk, Judge
from tests.support.page.opened import opened
from tests.support.serve.devtools import Chromium, Page
from tests.support.serve.page_cast import Scout
from three_mode import Orchestrator
from three_mode.agents import AgentGroup, OrchestratorOptions
from three_mode.options import Account, Budget, ConnectionOptions, Policies
from three_mode.testing import ScriptedProvider

FOLDER = Path("docs/pictures")
SCOUTS, CLERKS = 512, 40
COLOURS = 96

# Where the checkout is stays out of the picture.
_WITHOUT_FOLDER = (
    "(() => { const place = document.querySelector('.source');"
    " place.firstChild.data = place.firstChild.data.replace(/^.*[/]tests[/]/, 'tests/'); })()"
)


@contextlib.asynccontextmanager
async def at_work(orc: Orchestrator, scouts: AgentGroup) -> AsyncIterator[None]:
    """Scouts ask clerks, and hear news, while the block runs."""
    random_ = random.Random(7)

    async def ask() -> None:
        while True:
            some = [scouts[random_.randrange(64, SCOUTS)] for _ in range(12)]
            asked = (one.ask(Scout.pass_on, f"clerk/{random_.randrange(CLERKS)}", "hello", within=30.0) for one in some)
            await asyncio.gather(*asked, return_exceptions=True)
            await orc.broadcast("news.eu", {"id": 1})
            await asyncio.sleep(0.02)

    working = [asyncio.create_task(ask()) for _ in range(3)]
    try:
        yield
    finally:
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)


async def events(orc: Orchestrator, scouts: AgentGroup) -> None:
    """Let some things happen to the agents."""
    await orc.restart([scouts[3], scouts[9]], within=30.0)
    await orc.ref("scout/5").tell("no_such_handler", "x")
    await orc.broadcast("news.eu", {"fail": "the item has no id"})
    await (await orc.broadcast("news.eu", {"id": 2})).settled(within=10.0)


async def save(page: Page, name: str) -> None:
    """Save what the page shows, in few colours."""
    picture = Image.open(io.BytesIO(await page.picture())).convert("RGB")
    path = FOLDER / f"{name}.png"
    picture.quantize(COLOURS).save(path, optimize=True)
    print(path, path.stat().st_size, "bytes")


async def go(page: Page, place: str, ready: str) -> None:
    """Show a view, once it has what it is to show."""
    await page.until("document.querySelectorAll('nav a').length > 1", 60.0)
    await page.evaluate(f"location.hash = {json.dumps(place)}")
    await page.until(ready, 60.0)


async def map_and_events(browser: Chromium) -> None:
    """512 agents at work, one of them opened; and what happened to them."""
    async with Orchestrator(hosts=2, name="city") as orc:
        scouts = await orc.spawn(Scout, SCOUTS, name="scout", within=60.0)
        await orc.spawn(Scout, CLERKS, name="clerk", within=60.0)
        address = await orc.page()
        await orc.pause([scouts[number] for number in range(8)], within=30.0)
        waiting = [
            asyncio.ensure_future(scouts[number].ask(Scout.wait, 100.0, within=120.0)) for number in range(20, 44)
        ]
        async with at_work(orc, scouts), browser.page(address, height=860) as page:
            await page.until("document.querySelectorAll('table.agents tbody tr').length === 50", 60.0)
            await go(
                page, "#/map/scout/200", "document.querySelector('aside.agent')?.innerText.includes('Last messages')"
            )
            await page.until("document.querySelectorAll('.flows tbody tr').length > 1", 60.0)
            await page.evaluate("document.activeElement.blur()")
            await asyncio.sleep(2.0)
            await page.evaluate(_WITHOUT_FOLDER)
            await save(page, "watch-map")
        async with browser.page(address, height=420, prefers_color_scheme="dark") as page:
            await go(page, "#/events", "document.querySelector('.events')")
            await events(orc, scouts)
            await page.until("document.querySelector('td.kind.receipt')", 60.0)
            await asyncio.sleep(1.5)
            await save(page, "watch-events")
        for one in waiting:
            one.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)


@contextlib.asynccontextmanager
async def desk(**options: object) -> AsyncIterator[tuple[Orchestrator, AgentGroup]]:
    """A desk that is asked questions, and whom it asks: judges, a model of this computer, a provider."""
    async with ScriptedProvider("http/1.1") as provider:
        account = Account(api_key="k", base_url=f"{provider.url}/v1")
        config = {"default_provider": "openai", "default_model": "gpt-5-mini"}
        llm = ConnectionOptions(config=config, accounts={"openai": account})
        policies = Policies(budgets=(Budget(limit=0.5, label="answers"),))
        made = OrchestratorOptions(**options)  # type: ignore[arg-type]
        async with Orchestrator(hosts=2, name="city-desk", llm=llm, policies=policies, options=made) as orc:
            await orc.spawn(Judge, 2, name="judge", within=60.0)
            desks = await orc.spawn(Desk, 2, name="desk", within=60.0)
            await desks.gather(Desk.answer, "What is 3 + 4?", within=60.0)
            yield orc, desks


async def time_models_and_logs(browser: Chromium) -> None:
    """One request in time, the models and the money behind it, and what was logged."""
    async with desk() as (orc, desks):
        await orc.model("tiny", name="brain")
        async with browser.page(await orc.page(), height=640) as page:
            await go(page, "#/time", "document.querySelector('main')?.innerText.includes('once they have ended')")
            await asyncio.sleep(1.5)
            await desks[0].ask(Desk.answer, "What is 21 + 34?", within=20.0)
            row = "[...document.querySelectorAll('table.requests a')].find((a) => a.innerText.includes('answer'))"
            await page.until(row, 60.0)
            await page.evaluate(f"{row}.click()")
            await page.until("document.querySelectorAll('table.spans tbody tr').length > 8", 60.0)
            await page.evaluate("document.querySelector('div.flame').scrollIntoView(), scrollBy(0, -170)")
            await asyncio.sleep(0.5)
            await save(page, "watch-time")
        async with browser.page(await orc.page(), height=640) as page:
            await go(page, "#/models", "document.querySelector('table.providers')")
            for _ in range(3):
                await desks.gather(Desk.answer, "What is 3 + 4?", within=60.0)
            await asyncio.sleep(1.5)
            await save(page, "watch-models")
        async with browser.page(await orc.page(), height=520) as page:
            await go(page, "#/talk/tiny", "document.querySelector('#send')")
            for words in ("Repeat: hello world", "What is 21 + 34?"):
                await page.evaluate("document.querySelector('#words').focus()")
                await page.type(words)
                await page.press("Enter")
                await page.until(
                    "document.querySelector('#stop').disabled && !document.querySelector('#send').disabled", 60.0
                )
            await save(page, "watch-talk")


async def film(browser: Chromium, folder: Path) -> None:
    """A recording, step by step."""
    path = folder / "run.rec"
    async with desk(record=str(path)) as (_, desks):
        for number in range(20):
            await desks[number % 2].ask(Desk.answer, f"What is {number} + 3?", within=60.0)
    async with opened(path) as address, browser.page(address, height=720) as page:
        await go(page, "#/replay/60", "document.querySelector('tr[aria-current] button')?.innerText === '60'")
        await asyncio.sleep(1.5)
        await save(page, "watch-replay")


async def main() -> None:
    """Make all pictures, or those that are named: map, time, film."""
    wanted = sys.argv[1:] or ("map", "time", "film")
    with tempfile.TemporaryDirectory() as folder, Chromium(Path(folder) / "browser") as browser:
        if "map" in wanted:
            await map_and_events(browser)
        if "time" in wanted:
            await time_models_and_logs(browser)
        if "film" in wanted:
            await film(browser, Path(folder))


if __name__ == "__main__":
    asyncio.run(main())
