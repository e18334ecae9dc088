"""The chat verbs of a backend that does not judge names itself: each is checked before the backend is asked."""

from collections.abc import Coroutine
from typing import Any

from three_mode.events.hub import ConnectionHub
from three_mode.messages import LLMRequest, LLMResponse
from three_mode.serve.backend import ChunkStream
from three_mode.serve.model_rule import ModelRule
from three_mode.serve.telling import TellingBackend


class RuledChat:
    """The same verbs, for clients who may name what the rule says."""

    def __init__(self, backend: TellingBackend, rule: ModelRule) -> None:
        self._backend, self._rule = backend, rule

    @property
    def event_hub(self) -> ConnectionHub:
        """The hub of the backend's events."""
        return self._backend.event_hub

    def chat_completion(self, request: LLMRequest) -> Coroutine[Any, Any, LLMResponse]:
        self._rule.check(request.model or "", request.provider, request.mode)
        return self._backend.chat_completion(request)

    def stream(self, request: LLMRequest) -> ChunkStream:
        self._rule.check(request.model or "", request.provider, request.mode)
        return self._backend.stream(request)
