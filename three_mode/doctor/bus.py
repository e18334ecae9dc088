"""Which carrier the bus would use here, and whether it works."""

import importlib
from collections.abc import Iterator

from three_mode.doctor.check import Check, Status

AREA = "bus"


def checks() -> Iterator[Check]:
    yield native_ring()
    yield zeromq()


def native_ring() -> Check:
    try:
        importlib.import_module("transports.bus._ring")
    except ImportError as error:
        return Check(
            AREA, "native ring", Status.LIMITED, f"not built ({error}): the bus runs on ZeroMQ",
            "install a C compiler, then pip install --force-reinstall --no-binary three-mode three-mode",
        )  # fmt: skip
    return Check(AREA, "native ring", Status.OK, "built")


def zeromq() -> Check:
    try:
        import zmq
    except ImportError as error:
        return Check(AREA, "zeromq", Status.BROKEN, str(error), "pip install --force-reinstall pyzmq")
    lacks = [name for name in ("ipc", "curve") if not zmq.has(name)]
    found = f"libzmq {zmq.zmq_version()}, pyzmq {zmq.pyzmq_version()}"
    if lacks:
        return Check(
            AREA, "zeromq", Status.LIMITED, f"{found}, without {' and '.join(lacks)}",
            "install pyzmq from its wheel; without curve, tcp:// has no keys",
        )  # fmt: skip
    return Check(AREA, "zeromq", Status.OK, found)
