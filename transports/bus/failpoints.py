"""Failpoints: places where a fault test stops or kills this process, named in an environment variable of its child.

    THREE_MODE_BUS_FAILPOINT=join_hello_sent:kill
    THREE_MODE_BUS_FAILPOINT=registry_telling:stop:3      the third time

Without the variable, `reach` is one comparison. The points inside the ring are in the native part.
"""

import os
import signal
import threading

POINTS = ("join_connected", "join_hello_sent", "join_ready", "leave_bye_sent")
REGISTRY_POINTS = ("registry_telling", "registry_told", "registry_welcomed")  # in the process that hosts the registry
RING_POINT = "registry_handing_over"  # there too: it has a new ring, and no member was sent it
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}

ZMQ_WRITER_POINTS = ("zmq_numbered", "zmq_published", "zmq_ticked", "zmq_repaired")
ZMQ_READER_POINTS = ("zmq_taken", "zmq_delivered", "zmq_acknowledged")
ZMQ_ASK_POINTS = ("zmq_told", "zmq_direct_delivered")
ZMQ_QUERY_POINTS = ("zmq_queried", "zmq_answered")
_point, _action, _times = (os.environ.get("THREE_MODE_BUS_FAILPOINT", "") + "::").split(":")[:3]
_left = int(_times or 1)


def arm(point: str, action: str, times: int = 1) -> None:
    """Arm a failpoint from within the process: it acts when it is reached for the `times`-th time."""
    global _point, _action, _left
    _point, _action, _left = point, action, times


def reach(point: str) -> None:
    """Stop or kill this process if `point` is armed."""
    global _left
    if point == _point:
        _left -= 1
        if not _left:
            # To this thread: it would run on for a moment if another one took the signal of the process.
            signal.pthread_kill(threading.get_ident(), _SIGNALS[_action or "kill"])
