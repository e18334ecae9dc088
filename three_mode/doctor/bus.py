"""Checks of the bus: which carrier it would use here, and whether that works."""

import importlib
import secrets
from collections.abc import Iterator

from three_mode.doctor.check import Check, Status
from three_mode.doctor.runtime import REINSTALL

AREA = "bus"


def checks() -> Iterator[Check]:
    """Checks of this area."""
    yield native_ring()
    yield zeromq()
    yield carrier()


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
