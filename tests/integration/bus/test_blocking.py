"""The bus for a thread without an event loop."""

import asyncio
import contextlib
import os
import signal
import threading
from typing import Any

import pytest

from tests.support.bus.members import bus_name
from transports.bus import (
    BlockingBus,
    BusOptions,
    CallCancelled,
    Closed,
    DeadlineExceeded,
    Forked,
    Kind,
    Message,
    NoSuchBus,
    NoSuchName,
    Request,
)


def echo(request: Request) -> None:
    if request.kind is Kind.STREAM:
        out = request.open_stream()

        async def produce() -> None:
            with contextlib.suppress(CallCancelled):
                for n in range(request.payload):
                    await out.send(n)
                out.end()

        tasks.append(asyncio.ensure_future(produce()))
    elif request.topic != "silent":
        request.reply(request.payload)


tasks: list[Any] = []


def test_the_same_verbs_without_a_loop() -> None:
    name = bus_name()
    with BlockingBus.join(name) as a, BlockingBus.join(name, BusOptions(create=False)) as b:
        b.register(["x", "y"], echo)
        a.wait_for("x")
        assert a.ask("x", {"k": 1}).payload == {"k": 1}
        a.send("y", 1)
        with a.stream("x", 50, credit=4) as parts:
            assert [part.payload for part in parts] == list(range(50))
        with a.stream("x", 50) as parts:
            assert next(parts).payload == 0
        seen: list[Any] = []
        threads: set[threading.Thread] = set()
        subscription = b.subscribe("t", lambda m: (seen.append(m.payload), threads.add(threading.current_thread())))
        receipt = a.publish("t", 1)
        assert a.settled(receipt).seen == 1
        assert seen == [1]
        assert threads != {threading.current_thread()}
        b.unsubscribe(subscription)
        with b.listen("t") as items:
            for n in range(10):
                a.publish("t", n)
            got = [next(items) for _ in range(10)]
            assert [item.payload for item in got if isinstance(item, Message)] == list(range(10))
        assert a.status().carrier == "rings"
        with pytest.raises(NoSuchName):
            a.ask("nobody", 1)
        with pytest.raises(DeadlineExceeded):
            a.ask("x", 1, topic="silent", within=0.05)
        assert set(a.members()) == {a.id, b.id}
    with pytest.raises(Closed):
        a.ask("x", 1)


def test_a_callback_that_waits_for_the_bus_is_told_so() -> None:
    with BlockingBus.join(bus_name(), BusOptions(on_error=lambda where, error: errors.append(error))) as bus:
        errors: list[BaseException] = []
        bus.register("x", lambda request: bus.ask("x", 1))
        with pytest.raises(Exception, match="may not wait"):
            bus.ask("x", 1)
        assert isinstance(errors[0], RuntimeError)


def test_leaving_ends_what_other_threads_wait_for() -> None:
    bus = BlockingBus.join(bus_name())
    ended: list[Any] = []
    begun = threading.Barrier(3)

    def wait() -> None:
        begun.wait()
        try:
            bus.wait_for("nobody", within=1e6)
        except Closed as error:
            ended.append(error)

    def listen() -> None:
        with bus.listen("t") as items:
            begun.wait()
            ended.append(list(items))

    threads = [threading.Thread(target=work, daemon=True) for work in (wait, listen)]
    for thread in threads:
        thread.start()
    begun.wait()
    bus.leave()
    for thread in threads:
        thread.join(10)
    assert [thread.is_alive() for thread in threads] == [False, False]
    assert len(ended) == 2


def test_after_a_fork_nobody_waits_for_the_parents_thread() -> None:
    with BlockingBus.join(bus_name()) as bus:
        bus.register("x", echo)
        child = os.fork()
        if not child:
            signal.alarm(10)  # a child that hangs is killed
            told = False
            with contextlib.suppress(BaseException):
                try:
                    bus.ask("x", 1)
                except Forked:
                    told = True
                bus.leave()
                os._exit(0 if told else 1)
            os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert bus.ask("x", 1).payload == 1


def test_a_bus_that_is_not_there() -> None:
    with pytest.raises(NoSuchBus):
        BlockingBus.join(bus_name(), BusOptions(create=False))
