"""Points at which a fault test stops or kills this process, named in an environment variable of the test's child.

    THREE_MODE_BUS_FAILPOINT=join_hello_sent:kill
    THREE_MODE_BUS_FAILPOINT=registry_telling:stop:3      the third time

Without the variable, `reach` is one comparison. The points inside the ring are in the native part.
"""

import os
import signal

POINTS = ("join_connected", "join_hello_sent", "join_ready", "leave_bye_sent")
REGISTRY_POINTS = ("registry_telling", "registry_told", "registry_welcomed")  # of the member that hosts it
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}

_point, _action, _times = (os.environ.get("THREE_MODE_BUS_FAILPOINT", "") + "::").split(":")[:3]
_left = int(_times or 1)


def reach(point: str) -> None:
    global _left
    if point == _point:
        _left -= 1
        if not _left:
            os.kill(os.getpid(), _SIGNALS[_action or "kill"])
