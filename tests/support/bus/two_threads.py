"""A writer and a reader of one ring on two threads: `python -m tests.support.bus.two_threads RECORDS CAPACITY`.

Runs on a build of the ring that has `two_threads.c` in it. Prints what the reader saw, as JSON.
"""

import ctypes
import json
import sys

from transports.bus import _ring
from transports.bus.rings.native import RING, Writer
from transports.bus.rings.segments import make

FIELDS = ("taken", "missed", "lapped", "torn", "broken")


class Seen(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in FIELDS]


def main(records: int, capacity: int) -> None:
    library = ctypes.CDLL(_ring.__file__)  # it lets go of the GIL for the call
    _, segment = make(RING, capacity)
    writer, seen = Writer(segment), Seen()
    library.bus_two_threads.argtypes = [ctypes.py_object] * 3 + [ctypes.c_uint64, ctypes.POINTER(Seen)]
    library.bus_two_threads.restype = None
    library.bus_two_threads(writer, b"t", b"e", records, ctypes.byref(seen))
    sys.stdout.write(json.dumps({name: getattr(seen, name) for name in FIELDS}) + "\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
