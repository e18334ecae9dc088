"""The answers of one loaded model, without the policies of a connection, for whoever passes them on."""

import asyncio
from collections.abc import Callable

from msgspec.structs import replace

from three_mode.channels.ai_pc import LocalChannel
from three_mode.channels.local_batches import LocalBatches
from three_mode.channels.local_flow import Parts
from three_mode.messages import LLMRequest


class LocalAnswers:
    """`most` is the configured limit of tokens, for requests that name none."""

    __slots__ = ("_channel", "_most", "_name", "_time_of")

    def __init__(
        self, channel: LocalChannel, name: str, most: int | None, time_of: Callable[[float | None], float]
    ) -> None:
        self._channel, self._name, self._most, self._time_of = channel, name, most, time_of

    def __call__(self, request: LLMRequest, model: str, within: float | None) -> LocalBatches:
        """One in batches of chunks."""
        return self._channel.batches(self._name, self._limited(request), self._time_of(within))

    def flow(self, request: LLMRequest, within: float | None, parts: Parts) -> "asyncio.Future[None] | None":
        """One that goes out by `parts`, if it can begin now: see local_flow.py."""
        return self._channel.flow(self._name, self._limited(request), self._time_of(within), parts)

    def _limited(self, request: LLMRequest) -> LLMRequest:
        if self._most is None or request.max_tokens is not None:
            return request
        return replace(request, max_tokens=self._most)
