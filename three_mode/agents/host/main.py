"""Entry point of a host process, started by an orchestrator: `python -c "... begin()" FD PATH NOTE`."""

import asyncio
import os
import signal
import sys
import traceback

from three_mode.agents.host.lines import HostConfig, write_line
from three_mode.agents.host.start_note import StartNote


def main(fd: int, config: HostConfig, note: StartNote) -> None:
    """Run a host until its orchestrator stops it or ends. `fd`: the socket to the orchestrator."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the orchestrator, which stops its hosts in order
    try:
        _run(config, fd, note)
    except BaseException as error:
        write_line(
            fd,
            {"kind": "failed", "error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()},
        )
        raise


def _run(config: HostConfig, fd: int, note: StartNote) -> None:
    from three_mode.agents.host.process import serve

    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(config, fd, note))
    else:
        uvloop.run(serve(config, fd, note))


def begin() -> None:
    """Read the configuration, which is the first line of the socket, and become that host."""
    import msgspec

    fd, shared = int(sys.argv[1]), int(sys.argv[3])
    note = StartNote(shared)
    os.close(shared)
    received = b""
    while b"\n" not in received:
        data = os.read(fd, 65536)
        if not data:
            return  # the orchestrator died before it sent the configuration
        received += data
    line, _, more = received.partition(b"\n")
    if more:
        return  # the order to stop came before the start
    config = msgspec.json.decode(line, type=HostConfig)
    sys.path[:] = config.path
    sys.argv = [f"three-mode host {config.label}"]
    main(fd, config, note)
