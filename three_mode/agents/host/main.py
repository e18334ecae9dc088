"""Entry point of a host process, started by an orchestrator: `python -c "... begin()" FD`."""

import asyncio
import os
import signal
import sys
import traceback

from three_mode.agents.host.lines import HostConfig, write_line


def main(fd: int, config: HostConfig) -> None:
    """Run a host until its orchestrator stops it or ends. `fd`: the socket to the orchestrator."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the orchestrator, which stops its hosts in order
    try:
        _run(config, fd)
    except BaseException as error:
        write_line(
            fd,
            {"kind": "failed", "error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()},
        )
        raise


def _run(config: HostConfig, fd: int) -> None:
    from three_mode.agents.host.process import serve

    try:
        import uvloop
    except ImportError:
        asyncio.run(serve(config, fd))
    else:
        uvloop.run(serve(config, fd))


def begin() -> None:
    """Read the configuration, which is the first line of the socket, and become that host."""
    import msgspec

    fd = int(sys.argv[1])
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
    main(fd, config)
