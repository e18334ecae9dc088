"""The body of a text completion, into a request for each answer that it asks for. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from three_mode.errors import InvalidRequest, UnsupportedParameter
from three_mode.messages import LLMRequest
from three_mode.serve import several
from three_mode.serve.backend import CONVERSATION
from three_mode.serve.ignored import NOTHING_SENT, Sent, sent
from three_mode.serve.wire_in import MOST_ANSWERS as MOST_CHOICES
from three_mode.serve.wire_in import json_object

MOST_ANSWERS = 128  # of one request: each is a call of its own
MAX_TOKENS = 16  # where a request does not say, as at OpenAI
# Their fields that mean the same as ours.
_SAME = ("model", "temperature", "top_p", "stop", "seed")
# Values of other fields that say nothing new.
_DEFAULTS: dict[str, Any] = {"suffix": "", "logit_bias": {}, "presence_penalty": 0, "frequency_penalty": 0}
Prompt = str | Sequence[int]


class CompletionsQuestion(Struct, frozen=True):
    """What a client asked for: a request for each answer, and how it wants them."""

    requests: tuple[LLMRequest, ...]
    """Those of the first prompt first."""
    choices: int = 1
    """Answers of each prompt."""
    echo: bool = False
    stream: bool = False
    include_usage: bool = False
    sent: Sent = NOTHING_SENT
    """Fields that change no answer."""

    @property
    def model(self) -> str:
        return self.requests[0].model or ""

    def echoed(self, index: int) -> str:
        """The text that an answer begins with."""
        prompt = self.requests[index].prompt
        return prompt if self.echo and isinstance(prompt, str) else ""


def read_completions(body: bytes, within: float, most_messages: int = 0) -> CompletionsQuestion:
    """The body of `/v1/completions`; `within` is the caller's deadline."""
    data = json_object(body)
    prompts = _prompts(data.pop("prompt", None))
    choices = _count(data.pop("n", None), "n")
    best_of = data.pop("best_of", None)
    if best_of is not None and _count(best_of, "best_of") != choices:
        raise UnsupportedParameter("best_of is n, or left out: no answers are thrown away", field="best_of")
    if len(prompts) * choices > MOST_ANSWERS:
        raise InvalidRequest(f"at most {MOST_ANSWERS} answers a request", field="prompt", hint="send several requests")
    echo, stream = _flag(data.pop("echo", None), "echo"), _flag(data.pop("stream", None), "stream")
    options = data.pop("stream_options", None) or {}
    if not isinstance(options, Mapping):
        raise InvalidRequest("stream_options is an object", field="stream_options")
    if CONVERSATION in data:
        raise UnsupportedParameter("a bare prompt goes on in no conversation", field=CONVERSATION)
    if echo and any(not isinstance(prompt, str) for prompt in prompts):
        raise UnsupportedParameter("a prompt of tokens is not echoed", field="echo", hint="give it as a text")
    if echo and data.get("logprobs") is not None:
        raise UnsupportedParameter("the tokens of a prompt have no scores", field="logprobs", hint="leave echo out")
    fields: dict[str, Any] = {name: data.pop(name) for name in _SAME if data.get(name) is not None}
    if not isinstance(fields.get("model"), str) or not fields["model"]:
        raise InvalidRequest("the request names no model", field="model", hint="GET /v1/models lists them")
    given = data.pop("max_tokens", None)
    fields["max_tokens"] = MAX_TOKENS if given is None else given
    extra = {name: value for name, value in data.items() if value is not None and (_DEFAULTS.get(name, data) != value)}
    if extra:
        _check_scores(extra.get("logprobs"))
        fields["extra"] = extra
    first = LLMRequest(prompt=prompts[0], within=within, **fields)
    requests = [first if prompt == prompts[0] else _with(first, messages=(), prompt=prompt) for prompt in prompts]
    return CompletionsQuestion(
        tuple(each for request in requests for each in several.requests(request, choices)),
        choices,
        echo,
        stream,
        bool(options.get("include_usage")),
        sent(data),
    )


def _prompts(given: Any) -> list[Prompt]:
    """A text, several, tokens, or several lists of tokens."""
    if isinstance(given, str):
        return [given]
    if not isinstance(given, list) or not given:
        raise InvalidRequest("prompt is a text, a list of texts, or tokens", field="prompt")
    if all(type(token) is int for token in given):
        return [given]
    texts, tokens = (sum(isinstance(each, kind) for each in given) for kind in (str, list))
    if len(given) not in (texts, tokens):
        raise InvalidRequest("prompt is a text, a list of texts, or tokens", field="prompt")
    return given


def _count(value: Any, field: str) -> int:
    if value is None:
        return 1
    if type(value) is not int or not 1 <= value <= MOST_CHOICES:
        raise InvalidRequest(f"{field} is a whole number from 1 to {MOST_CHOICES}", field=field)
    return int(value)


def _flag(value: Any, field: str) -> bool:
    if value not in (None, True, False):
        raise InvalidRequest(f"{field} is true or false", field=field)
    return bool(value)


def _check_scores(value: Any) -> None:
    if value is not None and (type(value) is not int or value < 0):
        raise InvalidRequest("logprobs is a number of tokens", field="logprobs")


def _with(request: LLMRequest, **changes: Any) -> LLMRequest:
    changed: LLMRequest = msgspec.structs.replace(request, **changes)
    return changed
