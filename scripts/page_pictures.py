"""Pictures of the page for docs/watch.md, of real agents in a real browser: `python -m scripts.page_pictures`.

It needs Debian's chromium, and Pillow to make the files small.
"""

import asyncio
import contextlib
import io
import random
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from PIL import Image

from tests.support.serve.devtools import Chromium, Page
from tests.support.serve.page_cast import Scout
from three_mode import Orchestrator
from three_mode.agents import AgentGroup

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


async def main() -> None:
    """Make all pictures."""
    with tempfile.TemporaryDirectory() as folder, Chromium(Path(folder)) as browser:
        async with Orchestrator(hosts=2, name="city") as orc:
            scouts = await orc.spawn(Scout, SCOUTS, name="scout", within=60.0)
            await orc.spawn(Scout, CLERKS, name="clerk", within=60.0)
            address = await orc.page()
            await orc.pause([scouts[number] for number in range(8)], within=30.0)
            waiting = [
                asyncio.ensure_future(scouts[number].ask(Scout.wait, 100.0, within=120.0)) for number in range(20, 44)
            ]
            async with at_work(orc, scouts), browser.page(address, height=860) as page:
                await page.until("document.querySelectorAll('table.agents tbody tr').length === 50")
                await page.evaluate("location.hash = '#/map/scout/200'")
                await page.until("document.querySelector('aside.agent')?.innerText.includes('Last messages')", 60.0)
                await page.until("document.querySelectorAll('.flows tbody tr').length > 1", 60.0)
                await page.evaluate("document.activeElement.blur()")
                await asyncio.sleep(2.0)
                await page.evaluate(_WITHOUT_FOLDER)
                await save(page, "watch-map")
            async with browser.page(address, height=420, prefers_color_scheme="dark") as page:
                await page.until("document.querySelectorAll('table.agents tbody tr').length === 50")
                await page.evaluate("location.hash = '#/events'")
                await page.until("document.querySelector('.events')")
                await events(orc, scouts)
                await page.until("document.querySelector('td.kind.receipt')", 60.0)
                await asyncio.sleep(1.5)
                await save(page, "watch-events")
            for one in waiting:
                one.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


if __name__ == "__main__":
    asyncio.run(main())
