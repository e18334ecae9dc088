"""Refusals of providers as errors, in the part that all wire formats share."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

import msgspec

from three_mode.errors import (
    AuthenticationError,
    BadReply,
    ContentFilter,
    ContextLength,
    InvalidRequest,
    LLMError,
    NotFound,
    PermissionDenied,
    ProviderOverloaded,
    QuotaExhausted,
    RateLimit,
    ServerError,
    ThreeModeError,
)
from three_mode.providers.codec import Headers
from three_mode.providers.context_sizes import sizes_in
from three_mode.providers.headers import header, retry_after
from three_mode.providers.profile import Profile

_BY_STATUS: dict[int, type[LLMError]] = {
    400: InvalidRequest,
    401: AuthenticationError,
    402: QuotaExhausted,
    403: PermissionDenied,
    404: NotFound,
    405: NotFound,
    408: ServerError,
    409: ServerError,
    410: NotFound,
    413: InvalidRequest,
    422: InvalidRequest,
    429: RateLimit,
    503: ProviderOverloaded,
    529: ProviderOverloaded,
}
_TOO_LONG = re.compile(
    r"context.{0,12}(length|window|size|limit)|maximum context|prompt is too long|too many (input )?tokens|"
    r"input token count.{0,40}exceeds|exceeds? the (maximum|model|context)|request too large for|"
    r"range of input length|input is too long",
    re.IGNORECASE,
)
_SECRET = re.compile(r"\b(?:sk|pk|rk|gsk|xai|AIza)[-_A-Za-z0-9*.]{8,}")
_LONGEST = 500  # characters of a provider's message that an error quotes
_SHORTEST_KEY = 8  # characters
#: Headers that hold keys.
SECRET_HEADERS = ("authorization", "api-key", "x-api-key", "x-goog-api-key", "cookie", "proxy-authorization")
E = TypeVar("E", bound=ThreeModeError)


def refusal(
    profile: Profile,
    status: int,
    headers: Headers,
    message: str,
    code: str | None = None,
    kind: type[LLMError] | None = None,
    wait: float | None = None,
) -> LLMError:
    """Error for a refusal. `kind`, where the codec knows the class, comes before the class of the status."""
    kind = kind or by_status(status)
    if issubclass(kind, InvalidRequest) and _TOO_LONG.search(f"{message} {code or ''}"):
        kind = ContextLength
    text = without_keys(message.strip())[:_LONGEST] or f"status {status}"
    error = kind(
        f"{profile.name}: {text}",
        provider=profile.name,
        status=status or None,
        code=None if code is None else without_keys(code)[:_LONGEST],
        request_id=_request_id(headers),
        retry_after=wait if wait is not None else retry_after(headers),
    )
    if isinstance(error, ContextLength):
        error.tokens, error.room = sizes_in(message)
    error.hint = _hint(error, profile)
    return error


def _request_id(headers: Headers) -> str | None:
    found = header(headers, b"x-request-id") or header(headers, b"request-id")
    return None if found is None else without_keys(found)[:_LONGEST]


def by_status(status: int) -> type[LLMError]:
    """Class of error for an HTTP status."""
    known = _BY_STATUS.get(status)
    if known:
        return known
    if status >= 500:
        return ServerError
    return InvalidRequest if 400 <= status < 500 else BadReply


def _hint(error: LLMError, profile: Profile) -> str | None:
    if isinstance(error, AuthenticationError):
        return f"check api_key=, or {profile.env_name}_API_KEY"
    if isinstance(error, QuotaExhausted):
        return "top up the account, or give another provider in fallback="
    if isinstance(error, ContextLength):
        return "shorten the messages, lower max_tokens, or choose a model with a larger context"
    if isinstance(error, NotFound):
        return "check the model's name and base_url=; `await llm.models()` lists what there is"
    if isinstance(error, ContentFilter):
        return "the provider's safety system refused this content"
    return None


def without_keys(text: str) -> str:
    """Removes keys from a text: some providers quote the key that they refuse."""
    return _SECRET.sub("[key]", text)


def cleaned(error: E, secrets: Sequence[str] = ()) -> E:
    """The error, with no key in any of its fields: neither one of `secrets`, nor what looks like one."""
    for item in fields(error):
        text = getattr(error, item.name)
        if isinstance(text, str):
            for secret in secrets:
                text = _without(secret, text)
            setattr(error, item.name, without_keys(text))
    error.args = (error.message,)
    return error


def _without(secret: str, text: str) -> str:
    """The text without the secret, and without the beginning of it where the text was cut."""
    for length in range(len(secret), _SHORTEST_KEY - 1, -1):
        if secret[:length] in text:
            return _without(secret, text.replace(secret[:length], "[key]"))
    return text


def secrets_of(key: str | None, headers: Mapping[str, str]) -> tuple[str, ...]:
    """What no error may show: the key, and headers that hold one. What is too short to be a key is left alone, since it
    would be found in any text."""
    found = [key or ""]
    for name, value in headers.items():
        if name.lower() in SECRET_HEADERS:
            found += [value, value.rpartition(" ")[2]]
    return tuple(sorted({secret for secret in found if len(secret) >= _SHORTEST_KEY}, key=len, reverse=True))


def loads(body: bytes) -> Any:
    """Parses JSON; None for other bytes, such as the HTML page of a proxy."""
    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def plain_words(body: bytes) -> str:
    """First words of a body that is no known JSON, without tags, to quote in an error."""
    text = re.sub(r"<[^>]{0,200}>", " ", body[:4000].decode("utf-8", "replace"))
    return " ".join(text.split())[:200]


def bad_reply(profile: Profile, what: str) -> BadReply:
    """Error for a reply that does not follow the protocol."""
    return BadReply(f"{profile.name}: {what}", provider=profile.name, hint="is base_url= this provider's API?")
