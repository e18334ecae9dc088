"""Refusals for too many calls, with each way in which providers name the time to wait."""

from email.utils import formatdate
from typing import Literal

from three_mode.testing.script import Answer, Header
from three_mode.testing.wire import anthropic, gemini, openai
from three_mode.testing.wire.events import document

#: Way in which a provider names the time to wait: a header or a body.
ResetFormat = Literal[
    "retry-after",
    "retry-after-ms",
    "http-date",
    "openai",
    "openai-ms",
    "anthropic",
    "gemini",
    "ollama",
    "none",
]


def rate_limited(how: ResetFormat = "retry-after", *, seconds: float = 2.0, now: float = 0.0) -> Answer:
    """A 429 that may be tried again in `seconds`. `now` is the current Unix time, for formats that name a time."""
    headers: tuple[Header, ...]
    too_fast = openai.error("Rate limit reached for requests", "requests", "rate_limit_exceeded")
    match how:
        case "retry-after":
            return document(too_fast, status=429, headers=((b"retry-after", b"%d" % round(seconds)),))
        case "retry-after-ms":
            milliseconds = (b"retry-after-ms", b"%d" % round(seconds * 1000))
            return document(too_fast, status=429, headers=(milliseconds, (b"retry-after", b"60")))
        case "http-date":
            when = formatdate(now + seconds, usegmt=True).encode()
            return document(too_fast, status=429, headers=((b"retry-after", when),))
        case "openai":
            minutes, rest = divmod(seconds, 60)
            reset = (f"{minutes:.0f}m" if minutes else "") + f"{rest:g}s"
            headers = (
                (b"x-ratelimit-limit-requests", b"60"),
                (b"x-ratelimit-remaining-requests", b"0"),
                (b"x-ratelimit-reset-requests", reset.encode()),
                (b"x-ratelimit-limit-tokens", b"150000"),
                (b"x-ratelimit-remaining-tokens", b"149984"),
                (b"x-ratelimit-reset-tokens", b"6ms"),
            )
            return document(too_fast, status=429, headers=headers)
        case "openai-ms":
            headers = (
                (b"x-ratelimit-remaining-requests", b"0"),
                (b"x-ratelimit-reset-requests", b"%dms" % round(seconds * 1000)),
            )
            return document(too_fast, status=429, headers=headers)
        case "anthropic":
            from datetime import UTC, datetime

            when = datetime.fromtimestamp(now + seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ").encode()
            headers = (
                (b"retry-after", b"%d" % round(seconds)),
                (b"anthropic-ratelimit-requests-limit", b"50"),
                (b"anthropic-ratelimit-requests-remaining", b"0"),
                (b"anthropic-ratelimit-requests-reset", when),
            )
            return document(anthropic.error("Too many requests", "rate_limit_error"), status=429, headers=headers)
        case "gemini":
            info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{seconds:g}s"}
            return document(gemini.error("Resource exhausted", 429, "RESOURCE_EXHAUSTED", [info]), status=429)
        case "ollama":
            return document({"error": "server busy, please try again.  maximum pending requests exceeded"}, status=503)
        case "none":
            return document(too_fast, status=429)


def quota_exhausted() -> Answer:
    """A 429 for which waiting does not help: the account has no quota left."""
    body = openai.error("You exceeded your current quota", "insufficient_quota", "insufficient_quota")
    return document(body, status=429)


def overloaded() -> Answer:
    """Anthropic's 529."""
    return document(anthropic.error("Overloaded"), status=529)
