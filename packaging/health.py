"""Ends with 0 while the endpoint says that it is well, else with 1: the health check of a container.

python health.py [URL]          default: $THREE_MODE_HEALTH, or http://127.0.0.1:8080/health
"""

import os
import sys
import urllib.error
import urllib.request

DEFAULT = "http://127.0.0.1:8080/health"
WITHIN = 4.0  # seconds


def main(arguments: list[str]) -> int:
    """Asks once, without the proxies that the environment may name."""
    url = arguments[0] if arguments else os.environ.get("THREE_MODE_HEALTH") or DEFAULT
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=WITHIN) as reply:
            return 0 if reply.status == 200 else 1
    except (OSError, ValueError) as error:  # a status of failure is one too
        sys.stderr.write(f"{url}: {error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
