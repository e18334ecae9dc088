"""Clocks, chance and process ids, as the code in a world sees them: functions of `time`, `os` and `random`.

They stand in place of the real ones while a world runs, and ask those wherever none does: in another thread, or where a
module has kept one of them by name.
"""

import os
import random
import time
from typing import Any

from three_mode.testing.world.here import running_loop, running_world
from three_mode.testing.world.schedule import BEGINNING, EPOCH

_monotonic, _time, _perf_counter, _sleep = time.monotonic, time.time, time.perf_counter, time.sleep
_monotonic_ns, _time_ns, _perf_counter_ns = time.monotonic_ns, time.time_ns, time.perf_counter_ns
_urandom, _getpid, _exit = os.urandom, os.getpid, os._exit


def monotonic() -> float:
    """`time.monotonic`, on virtual time."""
    world = running_world()
    return _monotonic() if world is None else world.schedule.time()


def monotonic_ns() -> int:
    """`time.monotonic_ns`, on virtual time."""
    world = running_world()
    return _monotonic_ns() if world is None else int(world.schedule.time() * 1e9)


def perf_counter() -> float:
    """`time.perf_counter`, on virtual time."""
    world = running_world()
    return _perf_counter() if world is None else world.schedule.time()


def perf_counter_ns() -> int:
    """`time.perf_counter_ns`, on virtual time."""
    world = running_world()
    return _perf_counter_ns() if world is None else int(world.schedule.time() * 1e9)


def wall_time() -> float:
    """`time.time`, on virtual time."""
    world = running_world()
    return _time() if world is None else EPOCH - BEGINNING + world.schedule.time()


def wall_time_ns() -> int:
    """`time.time_ns`, on virtual time."""
    world = running_world()
    return _time_ns() if world is None else int((EPOCH - BEGINNING + world.schedule.time()) * 1e9)


def sleep(seconds: float) -> None:
    """`time.sleep`: the process sleeps, and the others go on."""
    loop = running_loop()
    if loop is None:
        _sleep(seconds)
    else:
        world = running_world()
        assert world is not None
        loop.ahead += max(0.0, seconds)
        loop.blocking = world.culprit()


def urandom(count: int) -> bytes:
    """`os.urandom`, from the seed."""
    world = running_world()
    return _urandom(count) if world is None else world.chance.randbytes(count)


def getpid() -> int:
    """`os.getpid`, of the process of the world that runs."""
    loop = running_loop()
    return _getpid() if loop is None else int(loop.process.pid)


def exit_now(code: int) -> Any:
    """`os._exit`: it ends the process of the world that runs."""
    loop = running_loop()
    if loop is None:
        _exit(code)
    loop.process.end(code)
    raise SystemExit(code)


REPLACED: tuple[tuple[Any, str, Any], ...] = (
    (time, "monotonic", monotonic),
    (time, "monotonic_ns", monotonic_ns),
    (time, "perf_counter", perf_counter),
    (time, "perf_counter_ns", perf_counter_ns),
    (time, "time", wall_time),
    (time, "time_ns", wall_time_ns),
    (time, "sleep", sleep),
    (os, "urandom", urandom),
    (os, "getpid", getpid),
    (os, "_exit", exit_now),
    (random, "_urandom", urandom),
)
"""Module, name, and what stands there while a world runs."""
