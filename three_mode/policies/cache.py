"""A cache of whole replies, by everything that can change the answer.

Never kept: errors, replies that are cut off, filtered or paused, and those of requests that say `cache={"response": "skip"}`.
"refresh" asks the provider anew and keeps what it says.
"""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import msgspec

from three_mode.messages import LLMRequest, LLMResponse, from_msgpack
from three_mode.policies.clock import MONOTONIC, Clock

PER_ENTRY = 100  # bytes, beside the reply's own
KEEPABLE = frozenset(("stop", "tool_calls"))
_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheOptions:
    """`ttl` in seconds. With a `path`, replies are kept in that file and outlive the process."""

    ttl: float = 3600.0
    entries: int = 1000
    max_bytes: int = 64 * 1024 * 1024
    path: str | Path | None = None


class ResponseCache(Protocol):
    """Where replies are kept."""

    async def get(self, key: bytes) -> LLMResponse | None: ...
    async def put(self, key: bytes, reply: LLMResponse, ttl: float | None = None) -> None: ...
    async def close(self) -> None: ...


def cache_key(request: LLMRequest, where: str, model: str, tenant: str = "") -> bytes:
    """`where` is the provider and its address, `tenant` whose key it is: two tenants never share an answer."""
    meaning = (
        where, model, tenant, request.messages, request.tools, request.tool_choice, request.response_format,
        request.temperature, request.top_p, request.max_tokens, request.stop, request.seed, request.reasoning, request.extra,
    )  # fmt: skip
    return hashlib.blake2b(_encode(meaning), digest_size=16).digest()


def keepable(reply: LLMResponse) -> bool:
    return reply.finish_reason in KEEPABLE and reply.parts != ()


class MemoryCache:
    """The newest replies, up to a number and a size; the least recently used one goes first.

    They are kept as bytes. Encoding one costs less than adding up its size did, nothing is shared that a caller could change, and
    the garbage collector has one object to look at rather than a dozen.
    """

    def __init__(self, options: CacheOptions | None = None, clock: Clock = MONOTONIC) -> None:
        self._options = options or CacheOptions()
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[bytes, float]] = OrderedDict()
        self.size = 0
        self.hits = self.misses = self.evicted = 0

    def __len__(self) -> int:
        return len(self._kept)

    async def get(self, key: bytes) -> LLMResponse | None:
        return self.look(key)

    async def put(self, key: bytes, reply: LLMResponse, ttl: float | None = None) -> None:
        self.keep(key, reply, ttl)

    async def close(self) -> None:
        self._kept.clear()
        self.size = 0

    # The same without a coroutine each, for those who know that it waits for nothing.

    def look(self, key: bytes) -> LLMResponse | None:
        found = self._kept.get(key)
        if found is not None and found[1] > self._clock.now():
            self._kept.move_to_end(key)
            self.hits += 1
            return from_msgpack(LLMResponse, found[0])
        if found is not None:
            self._drop(key)
        self.misses += 1
        return None

    def keep(self, key: bytes, reply: LLMResponse, ttl: float | None = None) -> None:
        kept, options = self._kept, self._options
        if key in kept:
            self._drop(key)
        written = _encode(reply)
        size = PER_ENTRY + len(written)
        if size > options.max_bytes:
            return
        kept[key] = (written, self._clock.now() + (options.ttl if ttl is None else ttl))
        self.size += size
        if len(kept) > options.entries:
            self._evict()
        while self.size > options.max_bytes:
            self._evict()

    def _evict(self) -> None:
        self.size -= PER_ENTRY + len(self._kept.popitem(last=False)[1][0])
        self.evicted += 1

    def _drop(self, key: bytes) -> None:
        self.size -= PER_ENTRY + len(self._kept.pop(key)[0])
