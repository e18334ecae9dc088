"""Cookies that stand for a key: a page gives its key once, and a random token from then on.

The token is in memory alone, and as long as its process: no key is ever in a cookie.
"""

import hmac
import secrets
import time
from collections.abc import Callable, Iterable

COOKIE = "three_mode_page"
MOST = 64  # sessions at a time; of more, the one that was opened first ends
LASTS = 12 * 3600.0  # seconds


class Sessions:
    """The sessions of one endpoint."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._ends: dict[str, float] = {}  # token -> when it ends, the oldest first
        self._clock = clock

    def __len__(self) -> int:
        return len(self._ends)

    def open(self) -> str:
        """Return the token of a new session."""
        self._forget_ended()
        while len(self._ends) >= MOST:
            del self._ends[next(iter(self._ends))]
        token = secrets.token_urlsafe(32)
        self._ends[token] = self._clock() + LASTS
        return token

    def holds(self, token: str) -> bool:
        """Whether a session has this token. Each is compared, and in constant time."""
        self._forget_ended()
        given, found = token.encode(), False
        for known in self._ends:
            found |= hmac.compare_digest(given, known.encode())
        return found

    def close(self, token: str) -> None:
        """End a session."""
        self._ends.pop(token, None)

    def _forget_ended(self) -> None:
        now = self._clock()
        for token in [token for token, end in self._ends.items() if end <= now]:
            del self._ends[token]


def key_matches(given: str, keys: Iterable[str]) -> bool:
    """Whether a key is one of these. Each is compared, and in constant time, so that the time tells nothing."""
    told, matches = given.encode(), False
    for key in keys:
        matches |= hmac.compare_digest(told, key.encode())
    return matches


def cookie_name(host: str | None) -> str:
    """The name of the cookie: cookies know no ports, and each endpoint of a machine has one of its own."""
    _, colon, port = (host or "").rpartition(":")
    return f"{COOKIE}_{port}" if colon and port.isdigit() else COOKIE


def token_of(cookies: str | None, host: str | None) -> str | None:
    """The token that a request brings in its cookies."""
    name = cookie_name(host)
    for cookie in (cookies or "").split(";"):
        found, _, value = cookie.strip().partition("=")
        if found == name:
            return value
    return None


def cookie(token: str, host: str | None, *, secure: bool) -> str:
    """The value of `Set-Cookie` for a token; an empty token takes the cookie away."""
    words = [f"{cookie_name(host)}={token}", "Path=/", "HttpOnly", "SameSite=Strict"]
    return "; ".join([*words, *(["Secure"] if secure else []), *([] if token else ["Max-Age=0"])])
