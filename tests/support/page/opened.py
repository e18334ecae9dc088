"""The page of a recording, as `three-mode watch run.rec` opens it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from three_mode import LLMConnection
from three_mode.page.content import PageContent
from three_mode.page.recordings.film import Film
from three_mode.serve.page_endpoint import PageEndpoint


@asynccontextmanager
async def opened(path: Path, *imports: str) -> AsyncIterator[str]:
    """Show a recording; the address has its key."""
    film, llm = Film(path, imports), LLMConnection()
    page = await PageEndpoint.open(PageContent(recording=film), llm)
    try:
        yield page.address
    finally:
        await page.close()
        await llm.close()
        await film.close()
