"""From an event loop: runs something on the engine's thread, and waits for its result."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from local_models.engine.engine import Engine, Job
from local_models.errors import EngineFailed, LocalModelError

T = TypeVar("T")


async def on_engine(engine: Engine, run: Callable[[], T]) -> T:
    """Runs `run` between two steps."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(value: T | None, error: LocalModelError | None) -> None:
        if not future.done():
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(value)  # type: ignore[arg-type]

    def command() -> None:
        value, problem = None, None
        try:
            engine.thread.require_open()
            value = run()
        except LocalModelError as error:
            problem = error
        except BaseException as error:  # it ends the engine; this caller gets an error first
            problem = EngineFailed(f"the engine failed: {error!r}")
            raise
        finally:
            loop.call_soon_threadsafe(settle, value, problem)

    engine.thread.command(command)
    return await future


async def one_by_one(engine: Engine, texts: Sequence[list[int]], compute: Callable[[list[int]], T]) -> list[T]:
    """Computes something of each text, with steps of other calls between."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[list[T]] = loop.create_future()

    def settle(result: list[T] | LocalModelError) -> None:
        if future.done():
            return
        if isinstance(result, LocalModelError):
            future.set_exception(result)
        else:
            future.set_result(result)

    def report(result: list[T] | LocalModelError) -> None:
        try:
            loop.call_soon_threadsafe(settle, result)
        except RuntimeError:
            pass  # the loop is closed, and so is the caller

    results: list[T] = []

    def advance() -> bool:
        if future.cancelled():
            return False
        try:
            results.append(compute(texts[len(results)]))
        except LocalModelError as error:
            report(error)
            return False
        if len(results) == len(texts):
            report(results)
        return len(results) < len(texts)

    if not texts:
        return []
    engine.job(Job(advance, report))
    return await future
