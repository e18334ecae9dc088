"""Models for tests: the small one in the package, and models of random weights in a folder of the run."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from local_models import LoadOptions, LocalModel
from local_models.engine.engine import Job
from local_models.engine.inprocess import InProcessBackend
from local_models.files.catalogue import TINY

AHOY = str(Path(__file__).resolve().parents[2] / "data" / "ahoy.lora.gguf")
"""Adapter for the small model, made by `python -m scripts.tiny_model.adapter`."""
T = TypeVar("T")
__all__ = ["AHOY", "TINY", "begun", "held", "opened", "said", "user"]


def user(text: str, system: str = "") -> list[dict[str, Any]]:
    messages = [{"role": "user", "content": text}]
    return [{"role": "system", "content": system}, *messages] if system else messages


def said(*turns: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"role": role, "content": content} for role, content in turns]


@asynccontextmanager
async def opened(model: str | Path = TINY, **options: Any) -> AsyncIterator[LocalModel]:
    """Opens a model with one thread: tests share the machine."""
    chosen = LoadOptions(**{"threads": 1, "sequences": 8, "context": 512, **options})
    async with await LocalModel.load(model, chosen) as made:
        yield made


@asynccontextmanager
async def held(model: LocalModel, turns: int, begin: Callable[[], T]) -> AsyncIterator[T]:
    """Stops the engine for `turns` of its turns after the calls that `begin` makes were all submitted.

    A test that needs calls half done uses this. After a sleep they could be done, or not yet begun, depending on the
    machine and its load.
    """
    backend = model._backend
    assert isinstance(backend, InProcessBackend)
    loop, stands, taken = asyncio.get_running_loop(), asyncio.Event(), 0
    go_on = threading.Semaphore(0)

    def advance() -> bool:
        nonlocal taken
        if taken in (0, turns):
            loop.call_soon_threadsafe(stands.set)
            assert go_on.acquire(timeout=60), "the test does not let the engine go on"
        taken += 1
        return taken <= turns

    def fail(error: object) -> None:
        loop.call_soon_threadsafe(stands.set)

    backend._engine.job(Job(advance, fail))
    await stands.wait()
    stands.clear()
    calls = begin()
    await begun()
    go_on.release()
    await stands.wait()
    try:
        yield calls
    finally:
        go_on.release()


async def begun() -> None:
    """Lets every new task submit its call to the engine."""
    for _ in range(3):
        await asyncio.sleep(0)
