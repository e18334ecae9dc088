"""Entry point of a worker, started by `three-mode serve --workers N`: `python -c "... begin()" FD`."""

import json
import os
import signal
import sys

import msgspec

from three_mode.agents.host.lines import write_line
from three_mode.cli.workers.order import WorkerOrder, read_options


def begin(fd: int) -> int:
    """Reads the order, and serves until it is told to stop. Returns the exit code."""
    os.set_inheritable(fd, False)  # its end says that this process has ended, whatever that started
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started it
    received = b""
    while b"\n" not in received:
        data = os.read(fd, 65536)
        if not data:
            return 0  # it died before it sent the order
        received += data
    order = msgspec.convert(json.loads(received.partition(b"\n")[0]), WorkerOrder)
    sys.path[:] = order.path
    from three_mode.cli.serve import run_worker
    from three_mode.cli.workers.link import WorkerLink

    failed = run_worker(read_options(order.options), WorkerLink(fd, order))
    if failed is None:
        return 0
    write_line(fd, {"kind": "failed", "error": failed})
    return 1
