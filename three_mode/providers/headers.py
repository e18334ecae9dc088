"""Waiting times in response headers: `retry-after` in each of its formats, and rate limits in three formats."""

import re
import time
from datetime import UTC, datetime

from three_mode.providers.codec import Headers, LimitReading

_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|h|m|s|d)")
_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_FIRST = frozenset((b"x", b"X", b"a", b"A"))  # x-ratelimit-..., anthropic-ratelimit-...
MOST = 24 * 3600.0  # seconds: longer waits are cut to a day; deadlines shorten the rest


def header(headers: Headers, name: bytes) -> str | None:
    """Value of a header, by its name in lower case; None where it is absent."""
    for key, value in headers:
        if key == name or key.lower() == name:
            return value.decode("latin-1").strip()
    return None


def seconds(text: str | None, now: float | None = None) -> float | None:
    """Parses seconds from `12`, `1.5`, `6m0s`, `12ms`, RFC 3339 or an HTTP date; None for any other text."""
    if not text:
        return None
    try:
        return _bounded(float(text))
    except ValueError:
        pass
    if _DURATION.match(text) and not _DURATION.sub("", text):
        return _bounded(sum(float(amount) * _UNITS[unit] for amount, unit in _DURATION.findall(text)))
    moment = _moment(text)
    return None if moment is None else _bounded(moment - (time.time() if now is None else now))


def _bounded(value: float) -> float | None:
    return min(max(value, 0.0), MOST) if value == value else None  # NaN is no number of seconds


def _moment(text: str) -> float | None:
    try:
        when = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        from email.utils import parsedate_to_datetime  # a slow import, for a format that few servers use

        try:
            when = parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError):
            return None
    try:
        return when.replace(tzinfo=when.tzinfo or UTC).timestamp()
    except (OverflowError, ValueError):
        return None


def retry_after(headers: Headers, now: float | None = None) -> float | None:
    """Seconds that the server asks to wait; a value in milliseconds comes first, because it is finer."""
    millis = seconds(header(headers, b"retry-after-ms"), now)
    if millis is not None:
        return millis / 1000
    wait = seconds(header(headers, b"retry-after"), now)
    if wait is not None:
        return wait
    reading = limits(headers, now)
    if reading is None:
        return None
    waits = [
        reset
        for remaining, reset in (
            (reading.requests_remaining, reading.requests_reset),
            (reading.tokens_remaining, reading.tokens_reset),
        )
        if remaining == 0 and reset is not None
    ]
    return max(waits, default=None)


def limits(headers: Headers, now: float | None = None) -> LimitReading | None:
    """Reads OpenAI's `x-ratelimit-limit-requests` and Anthropic's `anthropic-ratelimit-requests-limit`.

    Anthropic counts input and output tokens apart; the smaller remainder of the two is read.
    """
    found: dict[str, str] = {}
    for key, value in headers:
        # `in` would first try an int, with an exception, for each header of each reply.
        if key[:1] in _FIRST and key.find(b"ratelimit-") >= 0:
            found[key.decode("latin-1").lower()] = value.decode("latin-1").strip()
    if not found:
        return None
    if any(name.startswith("anthropic-") for name in found):
        return _anthropic(found, now)
    return LimitReading(
        _whole(found.get("x-ratelimit-limit-requests")),
        _whole(found.get("x-ratelimit-remaining-requests")),
        seconds(found.get("x-ratelimit-reset-requests"), now),
        _whole(found.get("x-ratelimit-limit-tokens")),
        _whole(found.get("x-ratelimit-remaining-tokens")),
        seconds(found.get("x-ratelimit-reset-tokens"), now),
    )


def _anthropic(found: dict[str, str], now: float | None) -> LimitReading:
    def get(kind: str, what: str) -> str | None:
        return found.get(f"anthropic-ratelimit-{kind}-{what}")

    kinds = [kind for kind in ("input-tokens", "output-tokens", "tokens") if get(kind, "remaining")]
    tightest = min(kinds, key=lambda kind: _whole(get(kind, "remaining")) or 0, default="tokens")
    return LimitReading(
        _whole(get("requests", "limit")),
        _whole(get("requests", "remaining")),
        seconds(get("requests", "reset"), now),
        _whole(get(tightest, "limit")),
        _whole(get(tightest, "remaining")),
        seconds(get(tightest, "reset"), now),
    )


def _whole(text: str | None) -> int | None:
    try:
        return max(0, int(float(text))) if text else None
    except (ValueError, OverflowError):
        return None
