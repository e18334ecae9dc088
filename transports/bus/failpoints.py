"""Points at which a fault test stops or kills this process, named in an environment variable of the test's child.

    THREE_MODE_BUS_FAILPOINT=join_hello_sent:kill

Without the variable, `reach` is one comparison. The points inside the ring are in the native part.
"""

import os
import signal

POINTS = ("join_connected", "join_hello_sent", "join_ready", "leave_bye_sent")
_SIGNALS = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}

_point, _, _action = os.environ.get("THREE_MODE_BUS_FAILPOINT", "").partition(":")


def reach(point: str) -> None:
    if point == _point:
        os.kill(os.getpid(), _SIGNALS[_action or "kill"])
