"""Replies of the Gemini API. Each event of a streamed reply has the shape of a whole one; a tool call comes whole."""

from typing import Any, Final

import msgspec

from three_mode.errors import AuthenticationError, ContentFilter, LLMError, RateLimit
from three_mode.messages import (
    Chunk,
    Finish,
    FinishReason,
    Folding,
    LLMResponse,
    Start,
    TextDelta,
    ThinkingDelta,
    ToolDelta,
    Usage,
    UsageUpdate,
)
from three_mode.providers.codec import Headers
from three_mode.providers.headers import seconds
from three_mode.providers.pieces import count_of, encode_json, gathered, text_of
from three_mode.providers.profile import Profile
from three_mode.providers.refusals import bad_reply, by_status, refusal
from three_mode.providers.stream import EventDecoder

FINISH: Final[dict[str, FinishReason]] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "SAFETY": "content_filter",
    "RECITATION": "content_filter",
    "BLOCKLIST": "content_filter",
    "PROHIBITED_CONTENT": "content_filter",
    "SPII": "content_filter",
    "IMAGE_SAFETY": "content_filter",
    "IMAGE_PROHIBITED_CONTENT": "content_filter",
    "MODEL_ARMOR": "content_filter",
}
_TOP = frozenset(("candidates", "usageMetadata", "modelVersion", "responseId", "promptFeedback", "error"))
_CANDIDATE = frozenset(("content", "finishReason", "index"))


def usage(value: Any) -> Usage:
    """Reads usage.

    Google counts thoughts apart from candidates, and the input of its own tools apart from the prompt.
    """
    thoughts = count_of(value.get("thoughtsTokenCount"))
    return Usage(
        count_of(value.get("promptTokenCount")) + count_of(value.get("toolUsePromptTokenCount")),
        count_of(value.get("candidatesTokenCount")) + thoughts,
        count_of(value.get("cachedContentTokenCount")),
        0,
        thoughts,
    )


class Contents:
    """Decodes `GenerateContentResponse` values to chunks: one value is a whole reply, several are a stream.

    Gemini's parts have no index. Text that follows text continues it; a change of kind begins a new part.
    """

    __slots__ = ("_calls", "_extra", "_finish", "_index", "_last", "_started", "error", "profile")

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self.error: LLMError | None = None
        self._started = False
        self._finish: FinishReason | None = None
        self._index = -1
        self._last = ""
        self._calls = 0
        self._extra: dict[str, Any] = {}

    @property
    def ended(self) -> bool:
        """Whether a finish reason came."""
        return self._finish is not None

    def take(self, reply: dict[str, Any], out: list[Chunk]) -> None:
        """Appends the chunks of one value to `out`."""
        if reply.get("error"):
            self.error = content_error(self.profile, 0, (), reply)
            return
        if not self._started:
            self._started = True
            out.append(
                Start(
                    text_of(reply.get("modelVersion")),
                    self.profile.name,
                    request_id=text_of(reply.get("responseId")),
                )
            )
        candidates = reply.get("candidates") or ()
        if candidates:
            self._candidate(candidates[0], out)
        elif (reply.get("promptFeedback") or {}).get("blockReason"):
            reason = str(reply["promptFeedback"]["blockReason"])
            self.error = ContentFilter(
                f"{self.profile.name}: the prompt was blocked: {reason}",
                provider=self.profile.name,
                code=reason,
            )
            return
        if reply.get("usageMetadata"):
            out.append(UsageUpdate(usage(reply["usageMetadata"])))
        if not reply.keys() <= _TOP:
            gathered(self._extra, {key: reply[key] for key in reply.keys() - _TOP})

    def finish(self) -> Finish:
        """Last chunk of the reply."""
        reason = self._finish or "unknown"
        return Finish("tool_calls" if self._calls and reason == "stop" else reason, extra=self._extra)

    def _candidate(self, candidate: dict[str, Any], out: list[Chunk]) -> None:
        for part in (candidate.get("content") or {}).get("parts") or ():
            self._part(part, out)
        reason = candidate.get("finishReason")
        if reason:
            self._finish = FINISH.get(reason, "unknown")
            if self._finish == "unknown":
                self._extra["finishReason"] = reason
        if not candidate.keys() <= _CANDIDATE:
            gathered(self._extra, {key: candidate[key] for key in candidate.keys() - _CANDIDATE})

    def _part(self, part: dict[str, Any], out: list[Chunk]) -> None:
        signature = text_of(part.get("thoughtSignature")) or None
        if "functionCall" in part:
            self._call(part["functionCall"], signature, out)
        elif "text" in part:
            text = text_of(part["text"])
            if part.get("thought"):
                out.append(ThinkingDelta(text, signature, provider=self.profile.name, index=self._index_of("thought")))
                return
            if text:
                out.append(TextDelta(text, self._index_of("text")))
            if signature:
                out.append(
                    ThinkingDelta(signature=signature, provider=self.profile.name, index=self._index_of("signature"))
                )
        else:  # code that Google ran, a file, audio: kinds without a name here
            gathered(self._extra, {"parts": [part]})

    def _call(self, call: dict[str, Any], signature: str | None, out: list[Chunk]) -> None:
        self._calls += 1
        arguments = call.get("args") or {}
        if not isinstance(arguments, dict):
            raise TypeError("the args of a call are an object")
        identity = text_of(call.get("id")) or f"call_made_{self._calls}"
        out.append(
            ToolDelta(
                self._index_of(f"call {self._calls}"),
                identity,
                text_of(call["name"]),
                encode_json(arguments).decode(),
                signature,
            )
        )

    def _index_of(self, kind: str) -> int:
        if kind != self._last:
            self._last = kind
            self._index += 1
        return self._index


def response(reply: Any, profile: Profile) -> LLMResponse:
    """Reads a whole reply."""
    contents, out = Contents(profile), list[Chunk]()
    contents.take(reply, out)
    if contents.error is not None:
        raise contents.error
    if not contents.ended and "candidates" not in reply:
        raise bad_reply(profile, "the reply has no candidates")
    folding = Folding()
    for chunk in (*out, contents.finish()):
        folding.add(chunk)
    return folding.response()


class GeminiDecoder(EventDecoder):
    """Decodes `alt=sse`: each event is a whole value, and the end of the bytes is the end of the reply."""

    __slots__ = ("_contents",)

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile)
        self._contents = Contents(profile)

    def read(self, unit: bytes, out: list[Chunk]) -> None:
        """Adds the chunks of one event."""
        self._contents.take(msgspec.json.decode(unit), out)
        self.error = self._contents.error

    def ended(self, out: list[Chunk]) -> None:
        """Ends the reply if a finish reason came; otherwise the stream was cut."""
        if self._contents.ended:
            out.append(self._contents.finish())
            self.done = True
        else:
            self.cut()


def content_error(profile: Profile, status: int, headers: Headers, reply: dict[str, Any]) -> LLMError:
    """Reads `{"error": {code, message, status, details}}`; the time to wait is in the details."""
    error = reply.get("error")
    if not isinstance(error, dict):
        return refusal(profile, status, headers, str(error or ""))
    number = error.get("code")
    if not status and isinstance(number, int):
        status = number
    details = [each for each in error.get("details") or () if isinstance(each, dict)]
    wait = next(
        (seconds(each["retryDelay"]) for each in details if isinstance(each.get("retryDelay"), str)),
        None,
    )
    kind = by_status(status)
    if any(each.get("reason") == "API_KEY_INVALID" for each in details):
        kind = AuthenticationError  # its status is 400
    elif error.get("status") == "RESOURCE_EXHAUSTED":
        kind = RateLimit
    return refusal(
        profile,
        status,
        headers,
        str(error.get("message") or ""),
        str(error.get("status") or "") or None,
        kind,
        wait,
    )
