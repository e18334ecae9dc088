"""A relay of TCP that takes its time, exactly: `python -m benchmarks._cluster_relay ADDRESS PORT TO SECONDS`.

Threads that sleep, because timers of event loops count milliseconds.
"""

import queue
import socket
import sys
import threading
import time


def pump(source: socket.socket, sink: socket.socket, delay: float) -> None:
    """Passes bytes on, each so many seconds after it came."""
    waiting: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()

    def deliver() -> None:
        while True:
            due, data = waiting.get()
            if not data:
                sink.close()
                return
            time.sleep(max(0.0, due - time.monotonic()))
            sink.sendall(data)

    threading.Thread(target=deliver, daemon=True).start()
    data = b"."
    while data:
        data = source.recv(65536)
        waiting.put((time.monotonic() + delay, data))


def main(address: str, port: int, to: int, delay: float) -> None:
    """Relays until the process is killed."""
    with socket.create_server((address, port)) as server:
        while True:
            near, _ = server.accept()
            far = socket.create_connection((address, to))
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for pair in ((near, far), (far, near)):
                threading.Thread(target=pump, args=(*pair, delay), daemon=True).start()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
