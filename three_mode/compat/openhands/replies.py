"""Replies and chunks in OpenAI's shape, read as dicts or by attributes. The endpoint's own writers make them."""

from collections.abc import Iterator
from time import time
from typing import Any

import msgspec

from three_mode.messages import Chunk, LLMResponse
from three_mode.serve.wire_out import ChunkWriter, completion

_DATA = b"data: "


class ModelResponse(dict[str, Any]):
    """A dict whose entries are attributes too: `response["choices"][0]["message"]` or `response.choices[0].message`.

    `response.three_mode` holds what OpenAI's shape has no place for: provider, mode, latency, cost, steps.
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the reply has no {name!r}; it has {', '.join(self)}") from None


def _read(data: bytes) -> ModelResponse:
    read: ModelResponse = _attributed(msgspec.json.decode(data))
    return read


def _attributed(value: Any) -> Any:
    if isinstance(value, dict):
        return ModelResponse((name, _attributed(each)) for name, each in value.items())
    return [_attributed(each) for each in value] if isinstance(value, list) else value


def whole(reply: LLMResponse) -> ModelResponse:
    """A reply as `LLM.completion` returns it."""
    return _read(completion(reply, reply.request_id))


class ChunkReader:
    """Chunks of one stream as `StreamingLLM` gives them."""

    def __init__(self, model: str) -> None:
        self._writer = ChunkWriter("chatcmpl-stream", model, int(time()), include_usage=True)

    def read(self, chunk: Chunk) -> Iterator[ModelResponse]:
        """The chunks that a chunk of `three_mode` is; each has a choice with a delta."""
        for line in self._writer.write(chunk).split(b"\n\n"):
            if line.startswith(_DATA + b"{"):
                made = _read(line.removeprefix(_DATA))
                if not made["choices"]:  # that of the usage: readers of deltas look at the first choice
                    made["choices"] = [ModelResponse(index=0, delta=ModelResponse(), finish_reason=None)]
                yield made
