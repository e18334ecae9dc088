"""Where a host process begins: `python -c "...main(FD)"`, started by an orchestrator and by nobody else."""

import asyncio
import os
import signal
import sys
import traceback

from three_mode.agents.host.lines import HostConfig, write_line


def main(fd: int, config: HostConfig) -> None:
    """Runs until the orchestrator says so, or ends."""
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
    """Reads its configuration, the first line of the socket, and becomes that host."""
    import msgspec

    fd = int(sys.argv[1])
    said = b""
    while b"\n" not in said:
        data = os.read(fd, 65536)
        if not data:
            return  # the orchestrator died before it said anything
        said += data
    line, _, more = said.partition(b"\n")
    if more:
        return  # told to stop before it began
    config = msgspec.json.decode(line, type=HostConfig)
    sys.path[:] = config.path
    sys.argv = [f"three-mode host {config.label}"]
    main(fd, config)
