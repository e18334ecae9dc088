"""Peers of the agents' benchmarks: Ray's actors and AutoGen core's agents, used as their documentation shows."""

import asyncio
import importlib.util
import logging
import os
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks.harness import cores

HAS_RAY = importlib.util.find_spec("ray") is not None
HAS_AUTOGEN = importlib.util.find_spec("autogen_core") is not None


_AFTERWARDS = 0.1  # seconds after its calls for which Ray's processes still use a core


class EchoActor:
    """Actor of Ray."""

    def sit(self, core: int) -> None:
        cores.seat(core)

    def echo(self, text: str) -> str:
        return text


@contextmanager
def ray_runtime() -> Iterator[Any]:
    """Runs Ray on this machine."""
    import ray

    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    try:
        yield ray
    finally:
        ray.shutdown()


def spawn_ray(ray: Any, count: int) -> tuple[float, list[Any]]:
    """Seconds until `count` new actors have answered, and the actors."""
    actor = ray.remote(num_cpus=0)(EchoActor)
    started = time.perf_counter()
    actors = [actor.remote() for _ in range(count)]
    ray.get([actor.echo.remote("hello") for actor in actors])
    return time.perf_counter() - started, actors


@asynccontextmanager
async def ray_asker(calls: int, before: int) -> AsyncIterator[Callable[[], Awaitable[float]]]:
    """Samples of asking a Ray actor, one call after another, from a separate process, where Ray's threads run."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks._agents_peers", str(calls), str(before), stdin=PIPE, stdout=PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    ask, answers = process.stdin, process.stdout

    async def sample() -> float:
        ask.write(b"\n")
        seconds = float(await answers.readline())
        await asyncio.sleep(_AFTERWARDS)
        return seconds

    try:
        await sample()  # its start
        yield sample
    finally:
        ask.close()
        await process.wait()


def ask_ray(calls: int, before: int) -> None:
    """Runs the other process: for each line of input a round of calls, and a line with the seconds of one call."""
    output = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # keeps what Ray prints out of the figures
    with ray_runtime() as ray:
        _, (actor,) = spawn_ray(ray, 1)
        cores.seat(0)
        ray.get(actor.sit.remote(1))
        for _ in sys.stdin:
            for _ in range(before):
                ray.get(actor.echo.remote("hello"))
            started = time.perf_counter()
            for _ in range(calls):
                ray.get(actor.echo.remote("hello"))
            print((time.perf_counter() - started) / calls, file=output)


@dataclass
class News:
    """Message of a broadcast."""

    id: int
    text: str


async def autogen_runtime(count: int) -> tuple[Any, Any]:
    """Runtime with `count` agents subscribed to one topic, and a coroutine function that publishes to all of them."""
    from autogen_core import (
        DefaultTopicId,
        MessageContext,
        RoutedAgent,
        SingleThreadedAgentRuntime,
        TypeSubscription,
        message_handler,
    )

    logging.getLogger("autogen_core").setLevel(logging.ERROR)
    seen, done = 0, asyncio.Event()

    class Reader(RoutedAgent):  # type: ignore[misc]  # the peer may not be installed
        @message_handler  # type: ignore[untyped-decorator]
        async def read(self, message: News, ctx: MessageContext) -> None:
            nonlocal seen
            seen += 1
            if seen % count == 0:
                done.set()

    runtime = SingleThreadedAgentRuntime()
    for number in range(count):
        await Reader.register(runtime, f"reader{number}", lambda: Reader("reader"))
        await runtime.add_subscription(TypeSubscription("news", f"reader{number}"))
    runtime.start()

    async def publish() -> None:
        done.clear()
        await runtime.publish_message(News(1, "x" * 72), DefaultTopicId(type="news", source="x"))
        await done.wait()

    return runtime, publish


if __name__ == "__main__":
    ask_ray(*map(int, sys.argv[1:3]))
