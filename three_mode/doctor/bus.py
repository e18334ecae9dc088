"""Checks of the bus: which carrier it would use here, and whether that works."""

import asyncio
import importlib
import os
import secrets
from collections.abc import Iterator

from three_mode.doctor.check import Check, Status
from three_mode.doctor.runtime import REINSTALL

AREA = "bus"
_WITHIN = 2.0  # seconds for all running buses


def checks() -> Iterator[Check]:
    """Checks of this area."""
    yield native_ring()
    yield zeromq()
    yield carrier()
    yield spin()


def native_ring() -> Check:
    """Checks that the native ring is compiled."""
    try:
        importlib.import_module("transports.bus._ring")
    except ImportError as error:
        return Check(
            AREA,
            "native ring",
            Status.LIMITED,
            f"not built ({error}): the bus runs on ZeroMQ",
            f"install a C compiler, then {REINSTALL}",
        )
    return Check(AREA, "native ring", Status.OK, "built")


def zeromq() -> Check:
    """Checks that ZeroMQ loads, with its transports."""
    try:
        import zmq
    except ImportError as error:
        return Check(AREA, "zeromq", Status.BROKEN, str(error), "pip install --force-reinstall pyzmq")
    lacks = [name for name in ("ipc", "curve") if not zmq.has(name)]
    found = f"libzmq {zmq.zmq_version()}, pyzmq {zmq.pyzmq_version()}"
    if lacks:
        return Check(
            AREA,
            "zeromq",
            Status.LIMITED,
            f"{found}, without {' and '.join(lacks)}",
            "install pyzmq from its wheel; without curve, tcp:// has no keys",
        )
    return Check(AREA, "zeromq", Status.OK, found)


def carrier() -> Check:
    """Joins a bus with two members and sends one request over its carrier."""
    from transports.bus import BlockingBus, BusError

    name = f"doctor-{secrets.token_hex(4)}"
    try:
        with BlockingBus.join(name) as asking, BlockingBus.join(name) as answering:
            answering.register("echo", lambda request: request.reply(request.payload))
            asking.wait_for("echo")
            answer = asking.ask("echo", "well?", within=5.0).payload
            status = asking.status()
    except (BusError, OSError) as error:
        return Check(
            AREA,
            "carrier",
            Status.BROKEN,
            f"two members of a bus did not reach each other: {error}",
            "see whether the runtime directory can be written to (`three-mode doctor`, limits)",
        )
    if answer != "well?":
        return Check(AREA, "carrier", Status.BROKEN, f"a question came back as {answer!r}", "report this")
    found = f"{status.carrier}: {status.why}; two members have spoken over it"
    if status.carrier != "rings":
        return Check(AREA, "carrier", Status.LIMITED, found, "see what is said of the native ring")
    return Check(AREA, "carrier", Status.OK, found)


def spin() -> Check:
    """Shows which members of running buses keep a core while they wait, and for how long."""
    from transports.bus import BusError

    try:
        spinning = asyncio.run(_spinning())
    except (BusError, OSError) as error:
        return Check(AREA, "spin", Status.LIMITED, f"not known: {error}", "see what is said of the carrier")
    if not spinning:
        return Check(AREA, "spin", Status.OK, "no member of a running bus keeps a core while it waits")
    found = ", ".join(f"{who} for {1000 * seconds:g} ms" for who, seconds in spinning)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if len(spinning) >= cores:
        return Check(
            AREA,
            "spin",
            Status.LIMITED,
            f"keep a core after each message: {found}; cores: {cores}",
            "give BusOptions(spin=...) to fewer processes than there are cores",
        )
    return Check(AREA, "spin", Status.OK, f"keep a core after each message: {found}")


async def _spinning() -> list[tuple[str, float]]:
    """Label and bus, and seconds of spin, of the members of all buses of this user that spin."""
    from transports.bus import Bus, BusError, BusOptions, running_buses

    found: list[tuple[str, float]] = []
    try:
        async with asyncio.timeout(_WITHIN):
            for name in running_buses():
                try:
                    bus = await Bus.join(name, BusOptions(create=False, label="doctor", join_within=_WITHIN / 2))
                except BusError:
                    continue  # it ends just now, or does not answer: `three-mode buses` says which
                try:
                    members = bus.members()
                    for member, seconds in (await bus.spins()).items():
                        if member in members:
                            found.append((f"{members[member].label} on {name}", seconds))
                finally:
                    await bus.leave(within=0.2)
    except TimeoutError:
        pass  # what was found by then
    return found
