"""Whether a process still lives: asked of one that may end while it is looked at."""

import psutil


def lives(process: psutil.Process | int) -> bool:
    """Whether `process` is there and no zombie: all that it held is gone once it is one."""
    try:
        asked = psutil.Process(process) if isinstance(process, int) else process
        return asked.is_running() and bool(asked.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
