"""The page over 512 agents at 20,000 messages a second, in headless Chromium: frames, memory, first paint, size."""

import asyncio
import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil

from benchmarks._page_cast import AGENTS, Seen
from benchmarks.harness import Benchmark, Context, Missing, Row, Target
from three_mode import Orchestrator
from three_mode.page.files import static_files

FRAMES, PAINT = "frames a second of the map", "first paint on loopback"
MEMORY, SIZE = "memory of the page's process", "JavaScript, gzipped"
MESSAGES = "messages a second meanwhile"
US = "three-mode"
A_SECOND = 20_000
_COUNT = "+document.querySelector('.cells canvas').dataset.frames"
_PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 0"


async def measure(context: Context) -> Iterator[Row]:
    """All rows."""
    from tests.support.serve.devtools import Chromium  # a driver that tests use too

    found: dict[str, list[float]] = {name: [] for name in (FRAMES, PAINT, MEMORY, MESSAGES)}
    with tempfile.TemporaryDirectory() as folder, Chromium(Path(folder)) as browser:
        async with Orchestrator(hosts=2) as orc:
            await orc.spawn(Seen, AGENTS, name="seen")
            sent = 0

            async def talk() -> None:
                nonlocal sent
                loop, every = asyncio.get_running_loop(), AGENTS / A_SECOND
                due = loop.time()
                while True:
                    await orc.broadcast("news.eu", {"id": sent})
                    sent += 1
                    due = max(due + every, loop.time() - 1.0)
                    await asyncio.sleep(due - loop.time())

            talking = asyncio.create_task(talk())
            try:
                address = await orc.page()
                for _ in range(context.rounds(3, least=2)):
                    context.progress(FRAMES)
                    async with browser.page(address) as page:
                        await page.until("document.querySelectorAll('table.agents tbody tr').length > 0")
                        found[PAINT].append(await page.until(_PAINT))
                        await page.until(f"{_COUNT} > 10")
                        frames, messages, began = await page.evaluate(_COUNT), sent, asyncio.get_running_loop().time()
                        await asyncio.sleep(2.0)
                        seconds = asyncio.get_running_loop().time() - began
                        found[MESSAGES].append((sent - messages) * AGENTS / seconds)
                        found[FRAMES].append((await page.evaluate(_COUNT) - frames) / seconds)
                        found[MEMORY].append(renderer_megabytes(browser.pid))
            finally:
                talking.cancel()
                await asyncio.gather(talking, return_exceptions=True)
    units = {FRAMES: "1/s", PAINT: "ms", MEMORY: "MB", MESSAGES: "1/s"}
    return iter([Row(case=case, subject=US, unit=units[case], samples=samples) for case, samples in found.items()])


def renderer_megabytes(browser: int) -> float:
    """Megabytes of the largest process that renders a page: its private memory, and its share of what is shared."""
    largest = 0.0
    for process in psutil.Process(browser).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "--type=renderer" in process.cmdline():
                largest = max(largest, process.memory_full_info().pss / 1e6)
    return largest


def run(context: Context) -> Iterator[Row | Missing]:
    """Runs the benchmark."""
    packed = sum(len(file.packed or file.body) for name, file in static_files().files.items() if name.endswith(".js"))
    yield Row(case=SIZE, subject=US, unit="kB", samples=[packed / 1e3])
    try:
        from tests.support.serve.browser import chromium

        program = chromium()
    except ImportError:  # not in a checkout
        program = None
    if program is None:
        yield Missing(case=FRAMES, subject=US, how_to_get="apt-get install chromium, and run it from a checkout")
        return
    yield from asyncio.run(measure(context))


BENCHMARK = Benchmark(
    summary=f"the page over {AGENTS} agents at {A_SECOND} messages a second, in headless Chromium",
    run=run,
    targets=[
        Target(case=FRAMES, subject=US, at_least=30.0),
        Target(case=PAINT, subject=US, at_most=300.0),
        Target(case=MEMORY, subject=US, at_most=150.0),
        Target(case=SIZE, subject=US, at_most=150.0),
    ],
    notes=(
        "The browser draws without a GPU, on the cores that the agents run on. Each round is a new page; its frames "
        "are those in which the map was drawn. "
        "Memory is that of the page's own process (PSS), not of the browser around it."
    ),
)
