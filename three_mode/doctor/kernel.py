"""What the bus needs of the kernel. Each feature is used once, not looked up in a version number."""

import fcntl
import os
import select
import sys
from collections.abc import Callable, Iterator

from three_mode.doctor.check import Check, Status

AREA = "kernel"
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW if hasattr(fcntl, "F_SEAL_GROW") else 0
F_SEAL_FUTURE_WRITE = 0x0010  # <linux/fcntl.h>; not in the fcntl module before Python 3.13


def checks() -> Iterator[Check]:
    if sys.platform != "linux":
        yield Check(
            AREA,
            "linux",
            Status.ABSENT,
            sys.platform,
            "shared-memory rings need Linux; the bus runs on ZeroMQ",
        )
        return
    yield feature("memfd", memfd, "Linux 3.17")
    yield feature("seals", seals, "Linux 5.1")
    yield feature("eventfd in a nested epoll", nested_eventfd, "Linux 2.6.30")
    yield feature("pidfd", pidfd, "Linux 5.3")


def feature(name: str, use: Callable[[], None], since: str) -> Check:
    try:
        use()
    except (OSError, AttributeError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return Check(
            AREA,
            name,
            Status.LIMITED,
            f"does not work: {why}",
            f"needs {since} and a sandbox that allows it; the bus runs on ZeroMQ without it",
        )
    return Check(AREA, name, Status.OK, "works")


def memfd() -> None:
    descriptor = os.memfd_create("three-mode-doctor", os.MFD_CLOEXEC)
    try:
        os.posix_fallocate(descriptor, 0, 4096)
    finally:
        os.close(descriptor)


def seals() -> None:
    descriptor = os.memfd_create("three-mode-doctor", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, 4096)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS | F_SEAL_FUTURE_WRITE)
    finally:
        os.close(descriptor)


def nested_eventfd() -> None:
    """One eventfd watched edge-triggered by an epoll inside another: how many processes wake by one write."""
    bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        with select.epoll() as inner, select.epoll() as outer:
            inner.register(bell, select.EPOLLIN | select.EPOLLET)
            outer.register(inner.fileno(), select.EPOLLIN)
            os.eventfd_write(bell, 1)
            if not outer.poll(1.0):
                raise OSError(0, "the event did not come through")
    finally:
        os.close(bell)


def pidfd() -> None:
    os.close(os.pidfd_open(os.getpid()))
