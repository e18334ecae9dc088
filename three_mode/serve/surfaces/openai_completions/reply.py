"""Answers of text completions as OpenAI's bodies and server-sent events. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from three_mode.errors import ThreeModeError
from three_mode.messages import Chunk, Finish, LLMResponse, Start, TextDelta, Usage, UsageUpdate
from three_mode.serve import faults
from three_mode.serve.ignored import NOTHING_SENT, Sent, ignored
from three_mode.serve.several import NumberedChunk
from three_mode.serve.wire_out import DONE, encode, ours, usage

_FINISH = {"length": "length", "content_filter": "content_filter"}


def text_completion(
    replies: Sequence[LLMResponse], echoed: Sequence[str], choices: int, number: str, asked: Sent = NOTHING_SENT
) -> bytes:
    """The body of all answers to one request. `asked` are fields that it sent and that change no answer."""
    first = replies[0]
    said: dict[str, Any] = {
        "id": number,
        "object": "text_completion",
        "created": int(first.created_at.timestamp()),
        "model": first.model,
        "choices": [
            _choice(index, before + reply.content, _FINISH.get(reply.finish_reason, "stop"), reply.extra)
            for index, (reply, before) in enumerate(zip(replies, echoed, strict=True))
        ],
        "usage": usage(summed([reply.usage for reply in replies], choices)),
    }
    if len(replies) == 1:
        said["three_mode"] = ours(first, asked)
    elif unused := ignored(asked, first.mode, first.provider):
        said["three_mode"] = {"ignored": unused}
    return encode(said)


def summed(used: Sequence[Usage], choices: int) -> Usage:
    """The usage of all answers. A prompt counts once, however many answers it has."""
    total = Usage()
    for index, one in enumerate(used):
        if index % choices:
            one = Usage(0, one.output_tokens, reasoning_tokens=one.reasoning_tokens, cost=one.cost)
        total += one
    return total


class TextChunkWriter:
    """Chunks of one answer as events. `index` is its place among the answers to the request."""

    def __init__(
        self,
        number: str,
        model: str,
        created: int,
        *,
        index: int = 0,
        echoed: str = "",
        include_usage: bool = False,
        asked: Sent = NOTHING_SENT,
    ) -> None:
        """`asked` are fields that the request sent and that change no answer."""
        self._number, self._created, self._index = number, created, index
        self._echoed, self._include_usage = echoed, include_usage
        self.used = Usage()
        self._asked, self._start = asked, Start()
        self._name(model)

    def _name(self, model: str) -> None:
        self._model = model
        head = {"id": self._number, "object": "text_completion", "created": self._created, "model": model}
        self._head = b"data: " + encode(head)[:-1] + b',"choices":['

    def first(self) -> bytes:
        """The prompt, where it is echoed."""
        return self._event(self._echoed) if self._echoed else b""

    def write(self, chunk: Chunk) -> bytes:
        match chunk:
            case TextDelta():
                return self._event(chunk.text)
            case UsageUpdate():
                self.used = chunk.usage
            case Start():
                self._start = chunk
                if chunk.model and chunk.model != self._model:
                    self._name(chunk.model)
            case Finish():
                return self.last(chunk) + (self.totals(self.used) if self._include_usage else b"") + DONE
        return b""

    def last(self, chunk: Finish) -> bytes:
        """The event that says why an answer ends."""
        said = self._event("", _FINISH.get(chunk.reason, "stop"), chunk.extra)
        unused = ignored(self._asked, self._start.mode, self._start.provider)
        return said[:-3] + b',"three_mode":%b}\n\n' % encode({"ignored": unused}) if unused else said

    def totals(self, used: Usage) -> bytes:
        """The event with the usage of all answers."""
        return self._head + b'],"usage":' + encode(usage(used)) + b"}\n\n"

    def broken(self, error: ThreeModeError) -> bytes:
        """The last event of an answer that broke off."""
        return faults.event(error)

    def _event(self, text: str, finish: str | None = None, extra: Mapping[str, Any] = {}) -> bytes:
        return self._head + encode(_choice(self._index, text, finish, extra)) + b"]}\n\n"


class SeveralTextsWriter:
    """Chunks of several answers as one stream of events. A prompt has so many `choices`."""

    def __init__(self, writers: Sequence[TextChunkWriter], choices: int, include_usage: bool) -> None:
        self._writers, self._choices, self._include_usage = writers, choices, include_usage

    def first(self) -> bytes:
        """The prompts, where they are echoed."""
        return b"".join(writer.first() for writer in self._writers)

    def write(self, chunk: Chunk | NumberedChunk) -> bytes:
        """The events of a chunk of one answer; and of the end of all."""
        if isinstance(chunk, NumberedChunk):
            writer, said = self._writers[chunk.index], chunk.chunk
            return writer.last(said) if isinstance(said, Finish) else writer.write(said)
        if not isinstance(chunk, Finish):
            return b""
        used = summed([writer.used for writer in self._writers], self._choices)
        return (self._writers[0].totals(used) if self._include_usage else b"") + DONE

    def broken(self, error: ThreeModeError) -> bytes:
        """The last event of answers of which one broke off."""
        return faults.event(error)


def _choice(index: int, text: str, finish: str | None, extra: Mapping[str, Any]) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": _scores(extra.get("logprobs")), "finish_reason": finish}


def _scores(found: Any) -> Any:
    """What tokens scored: a provider's as it came, a local model's in the same shape."""
    if not isinstance(found, list):
        return found
    offsets, at = [], 0
    for one in found:
        offsets.append(at)
        at += len(one["token"])
    return {
        "tokens": [one["token"] for one in found],
        "token_logprobs": [one["logprob"] for one in found],
        "top_logprobs": [dict(one["top"]) or None for one in found],
        "text_offset": offsets,
    }
