"""Choose the carrier: rings where they work, ZeroMQ elsewhere, and the reason."""

import os
import sys
from dataclasses import replace

from transports.bus.carrier import Carrier, Sink
from transports.bus.errors import JoinFailed
from transports.bus.options import BusOptions

# Open files of a member that joins and hosts the registry, with a few for what it does first.
FILES_OF_RINGS, FILES_OF_ZMQ = 28, 48


def rings_available() -> tuple[bool, str]:
    """Return whether rings work on this machine, and why, or why not."""
    if sys.platform != "linux":
        return False, f"rings need Linux, this is {sys.platform}"
    try:
        from transports.bus.rings import native  # noqa: F401
    except ImportError as error:
        return False, f"the native part is not built ({error}); install with a C compiler"
    return True, "memfd, eventfd and the native part are there"


def check_open_files(needed: int) -> None:
    """Raise JoinFailed unless this process may open `needed` more files: a member that joins halfway helps nobody."""
    opened: list[int] = []
    try:
        for _ in range(needed):
            opened.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))  # noqa: PERF401 - closed below, if one fails
    except OSError as error:
        raise JoinFailed(
            f"a member of a bus needs about {needed} open files, and this process may open {len(opened)} more: {error}."
            " Raise RLIMIT_NOFILE (ulimit -n)"
        ) from None
    finally:
        for fd in opened:
            os.close(fd)


def choose(name: str, options: BusOptions, label: str, sink: Sink) -> tuple[Carrier, str]:
    """Make the carrier for bus `name`, and return the reason for choosing it with it."""
    options = replace(options, label=label)
    possible, why = rings_available()
    carrier = options.carrier
    if carrier == "auto":
        carrier = "zmq" if options.endpoint or not possible else "rings"
        why = "an endpoint was given" if options.endpoint else why
    else:
        why = why if carrier == "rings" else "chosen by configuration"
    if carrier == "rings":
        if not possible:
            raise JoinFailed(f"rings were asked for, but {why}")
        check_open_files(FILES_OF_RINGS)
        from transports.bus.rings.carrier import RingsCarrier

        return RingsCarrier(name, options, sink), why
    if carrier == "zmq":
        check_open_files(FILES_OF_ZMQ)
        from transports.bus.zeromq.carrier import ZmqCarrier

        return ZmqCarrier(name, options, sink), why
    raise JoinFailed(f"no carrier is called {carrier!r}")
