"""Ray's program of the clusters' benchmarks, run by the Python that has Ray: an actor on a second raylet is called.

It says "ready", answers each line of its input with the seconds of a call, and ends when its input ends.
"""

import json
import os
import sys
import time
from importlib import import_module
from typing import Any

_STORE = 80 * 2**20  # bytes of the object store of each raylet: the least that Ray takes
_WARM_UP = 50


class Echo:
    """Answers with the number of an item."""

    def echo(self, item: dict[str, Any]) -> int:
        return int(item["id"])


def main() -> None:
    """Starts two raylets of this machine, and calls an actor of the second from a driver of the first."""
    calls, item = int(sys.argv[1]), json.loads(sys.argv[2])
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what Ray itself prints is no answer
    ray, utils = import_module("ray"), import_module("ray.cluster_utils")
    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": _STORE}
    cluster = utils.Cluster(initialize_head=True, head_node_args=head)
    try:
        cluster.add_node(num_cpus=1, resources={"far": 1}, object_store_memory=_STORE)
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        actor = ray.remote(resources={"far": 1})(Echo).remote()
        for _ in range(_WARM_UP):
            ray.get(actor.echo.remote(item))
        answers.write("ready\n")
        while sys.stdin.readline():
            started = time.perf_counter()
            for _ in range(calls):
                ray.get(actor.echo.remote(item))
            answers.write(f"{(time.perf_counter() - started) / calls}\n")
        ray.shutdown()
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
