"""Processor time that other programs take on the cores of this one: what a measurement of speed is disturbed by."""

import os
import time


def seconds_of_other_programs() -> float:
    """Returns the processor time that other programs took on as many cores as this one may use; 0: not known here."""
    try:
        with open("/proc/stat", "rb", buffering=0) as file:
            user, nice, system, _, _, interrupts, soft = map(int, file.read(256).split(b"\n", 1)[0].split()[1:8])
        busy = (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")
        return (busy - time.process_time()) * len(os.sched_getaffinity(0)) / (os.cpu_count() or 1)
    except (OSError, ValueError, AttributeError):
        return 0.0
