"""Checks of the kernel's features that the bus uses. Each feature is used once, rather than inferred from a version."""

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
    """Checks of this area."""
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
    """Uses a feature once; `since` is the first kernel that has it."""
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
    """Allocates memory in a memfd."""
    descriptor = os.memfd_create("three-mode-doctor", os.MFD_CLOEXEC)
    try:
        os.posix_fallocate(descriptor, 0, 4096)
    finally:
        os.close(descriptor)


def seals() -> None:
    """Seals a memfd."""
    descriptor = os.memfd_create("three-mode-doctor", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, 4096)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS | F_SEAL_FUTURE_WRITE)
    finally:
        os.close(descriptor)


def nested_eventfd() -> None:
    """Watches an eventfd edge-triggered by an epoll inside another epoll: so one write wakes many processes."""
    wakeup = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        with select.epoll() as inner, select.epoll() as outer:
            inner.register(wakeup, select.EPOLLIN | select.EPOLLET)
            outer.register(inner.fileno(), select.EPOLLIN)
            os.eventfd_write(wakeup, 1)
            if not outer.poll(1.0):
                raise OSError(0, "the event did not come through")
    finally:
        os.close(wakeup)


def pidfd() -> None:
    """Opens a pidfd of this process."""
    os.close(os.pidfd_open(os.getpid()))
