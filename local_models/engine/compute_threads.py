"""Compute threads of an engine: all cores by default, one less while an event loop of the program needs it."""

import time

from local_models.engine.pace import CHECK, ThreadPace
from local_models.llama.other_programs import seconds_of_other_programs


class ComputeThreads:
    """Chooses between the `few` threads that leave a core, and the most, by the processor time that others take."""

    def __init__(self, few: int, most: int) -> None:
        self.few = few
        self._pace = ThreadPace(few, most) if few != most else None
        self._clocks: dict[int, int] = {}  # thread of an event loop -> clock of its processor time
        self.next_look = 0.0 if self._pace else float("inf")
        """Time of the next `look`, in seconds of `time.perf_counter`."""

    @property
    def chosen(self) -> int:
        """The threads that were chosen last."""
        return self.few if self._pace is None else self._pace.threads

    def watch(self, thread: int) -> None:
        """Counts the processor time of a thread, by its identifier, as that of an event loop; from any thread."""
        if self._pace is None:
            return
        try:
            self._clocks[thread] = time.pthread_getcpuclockid(thread)
        except (AttributeError, OSError):  # not on this system: a core is left at all times
            self._pace = None
            self.next_look = 0.0

    def look(self, now: float) -> int:
        """Returns the threads from now on."""
        pace = self._pace
        if pace is None:
            self.next_look = float("inf")
            return self.few
        self.next_look = now + CHECK
        seconds = seconds_of_other_programs()
        for thread, clock in list(self._clocks.items()):
            try:
                seconds += time.clock_gettime(clock)
            except OSError:  # the thread has ended
                self._clocks.pop(thread, None)
        return pace.look(now, seconds)
