"""Helpers that the codecs share, for requests and for replies."""

import base64
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from three_mode.errors import BadReply, InvalidRequest, LLMError, UnsupportedParameter
from three_mode.messages import Image, LLMRequest, Thinking, ToolCall, ToolResult
from three_mode.messages.parts import Text
from three_mode.providers.codec import Header
from three_mode.providers.profile import Profile
from three_mode.providers.without_effect import is_spared

T = TypeVar("T")

encode_json = msgspec.json.encode
JSON_HEADERS: tuple[Header, ...] = ((b"content-type", b"application/json"), (b"accept", b"application/json"))
EVENT_HEADERS: tuple[Header, ...] = (
    (b"content-type", b"application/json"),
    (b"accept", b"text/event-stream"),
)


def merged(body: dict[str, Any], request: LLMRequest, profile: Profile) -> tuple[dict[str, Any], tuple[Header, ...]]:
    """Adds the `extra` fields of profile and request to the body; also returns the headers of `extra_headers`.

    A field in `extra` that the request sets itself is an error, because neither value can win. One that changes no
    answer is left out where the provider does not know it.
    """
    for key, value in profile.extra.items():
        body.setdefault(key, value)
    extra = request.extra
    if not extra:
        return body, ()
    headers: tuple[Header, ...] = ()
    for key, value in extra.items():
        if key == "extra_headers":
            headers = _headers(value)
        elif is_spared(profile.wire, key, value):
            pass
        elif key in body and key not in profile.extra:
            if not (isinstance(value, dict) and isinstance(body[key], dict) and not value.keys() & body[key].keys()):
                raise _contradiction(key)
            body[key] = {**body[key], **value}
        else:
            body[key] = value
    if extra.get("n", 1) != 1 or extra.get("candidate_count", 1) != 1:
        raise UnsupportedParameter("a call has one answer", field="extra.n", hint="use batch() for several")
    return body, headers


def with_extra(body: dict[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Adds `extra` to a body that is not of a conversation. A field that the body has already is an error."""
    for key, value in extra.items():
        if key in body:
            raise _contradiction(key)
        body[key] = value
    return body


def _contradiction(key: str) -> InvalidRequest:
    return InvalidRequest(
        f"extra.{key} contradicts what the request says itself",
        field=f"extra.{key}",
        hint="set it in one place only",
    )


def _headers(value: Any) -> tuple[Header, ...]:
    if not isinstance(value, Mapping):
        raise InvalidRequest("extra_headers is a dict of strings", field="extra.extra_headers")
    found = []
    for name, text in value.items():
        if not isinstance(name, str) or not isinstance(text, str) or any(c in name + text for c in "\r\n\0"):
            raise InvalidRequest("a header is two strings on one line", field=f"extra.extra_headers.{str(name)[:40]}")
        found.append((name.lower().encode("latin-1", "replace"), text.encode("latin-1", "replace")))
    return tuple(found)


def data_url(image: Image) -> str:
    """Image as a URL, for wire formats that accept no other form."""
    if image.url is not None:
        return image.url
    assert image.data is not None
    return f"data:{image.mime};base64,{base64.b64encode(image.data).decode('ascii')}"


def inline_data(image: Image) -> tuple[str, str] | None:
    """Type and base64 of an image given as bytes or as a data URL; None for a link."""
    if image.data is not None:
        return image.mime or "", base64.b64encode(image.data).decode("ascii")
    assert image.url is not None
    if not image.url.startswith("data:"):
        return None
    head, comma, data = image.url[5:].partition(",")
    if not comma or not head.endswith(";base64"):
        raise InvalidRequest("a data: URL of an image is base64", field="url", hint="data:image/png;base64,...")
    return head.removesuffix(";base64"), data


def check_link(image: Image, profile: Profile, schemes: tuple[str, ...] = ("https://", "http://", "data:")) -> None:
    """Checks that the provider can read the URL of an image."""
    if image.url is not None and not image.url.startswith(schemes):
        raise UnsupportedParameter(
            f"{profile.name} cannot read {image.url.partition(':')[0]}: URLs",
            field="messages",
            provider=profile.name,
            hint="use Image.from_file(path)",
        )


def own_thinking(part: Thinking, profile: Profile) -> bool:
    """Whether the thinking came from this provider: it goes back to no other."""
    return part.provider is None or part.provider == profile.name


def result_text(result: ToolResult, profile: Profile) -> str:
    """Tool result as text, for wire formats whose tool messages carry text only."""
    if isinstance(result.content, str):
        text = result.content
    else:
        if any(isinstance(part, Image) for part in result.content):
            raise UnsupportedParameter(
                f"{profile.name} takes only text as the answer of a tool",
                field="messages",
                provider=profile.name,
                hint="put the image into the next user message",
            )
        text = "".join(part.text for part in result.content if isinstance(part, Text))
    return f"Error: {text}" if result.is_error else text


def called_names(request: LLMRequest) -> dict[str, str]:
    """Id of each tool call in the conversation -> name of the tool, for providers that require it with the result."""
    return {
        call.id: call.name
        for message in request.messages
        if message.role == "assistant" and not isinstance(message.content, str)
        for call in message.content
        if isinstance(call, ToolCall)
    }


def refuse(profile: Profile, field: str, why: str, hint: str | None = None) -> UnsupportedParameter:
    """Error for a field that the provider does not support."""
    return UnsupportedParameter(f"{profile.name} {why}", field=field, provider=profile.name, hint=hint)


def reading(profile: Profile, read: Callable[[Any], T], body: bytes, what: str = "reply") -> T:
    """Parses JSON and runs a reader over it. Any bytes give a value or an `LLMError`."""
    try:
        return read(msgspec.json.decode(body))
    except LLMError:
        raise
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise _bad_reply(profile, f"the {what} is not JSON: {body[:80]!r}") from None
    except (
        KeyError,
        TypeError,
        AttributeError,
        IndexError,
        ValueError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise _bad_reply(
            profile, f"the {what} has not the shape it should have ({type(error).__name__}: {error})"[:300]
        ) from None


def _bad_reply(profile: Profile, why: str) -> BadReply:
    from three_mode.providers.refusals import bad_reply  # once something is wrong

    return bad_reply(profile, why)


def text_of(value: Any) -> str:
    """Checks a string of a reply; None becomes "". Another type breaks the protocol: a TypeError."""
    if value is None:
        return ""
    if type(value) is not str:
        raise TypeError(f"a string was expected, not {type(value).__name__}")
    return value


def count_of(value: Any) -> int:
    """Checks a count of a reply; None becomes 0, and a negative count 0."""
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"a count was expected, not {type(value).__name__}")
    return max(0, int(value))


def gathered(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Merges fields without a name here into `into`: lists are extended, dicts merged, other values replaced."""
    for key, value in more.items():
        if value is None:
            continue
        have = into.get(key)
        if isinstance(have, list) and isinstance(value, list):
            have.extend(value)
        elif isinstance(have, dict) and isinstance(value, dict):
            gathered(have, value)
        else:
            into[key] = value


__all__ = [
    "EVENT_HEADERS",
    "JSON_HEADERS",
    "BadReply",
    "called_names",
    "check_link",
    "count_of",
    "data_url",
    "encode_json",
    "gathered",
    "inline_data",
    "merged",
    "own_thinking",
    "reading",
    "refuse",
    "result_text",
    "text_of",
]
