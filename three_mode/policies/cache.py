"""A cache of whole replies, by everything that can change the answer.

Never kept: errors, replies that are cut off, filtered or paused, and those of requests that say `cache={"response": "skip"}`.
"refresh" asks the provider anew and keeps what it says.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec

from three_mode.frozen_options import FrozenOptions
from three_mode.messages import LLMRequest, LLMResponse, from_msgpack
from three_mode.policies.clock import MONOTONIC, Clock

PER_ENTRY = 100  # bytes, beside the key's and the reply's own
LONGEST_KEY = 1024
KEEPABLE = frozenset(("stop", "tool_calls"))
_encode = msgspec.msgpack.Encoder().encode
Read = Callable[[bytes], LLMResponse]
_read: Read = partial(from_msgpack, LLMResponse)


class CacheOptions(FrozenOptions, frozen=True, kw_only=True):
    """`ttl` in seconds. With a `path`, replies are kept in that file and outlive the process."""

    ttl: float = 3600.0  #: seconds that a reply is kept
    entries: int = 1000  #: most replies kept
    max_bytes: int = 64 * 1024 * 1024  #: most bytes of replies kept
    path: str | Path | None = None  #: a file that keeps the replies beyond the end of the process; None: memory


class ResponseCache(Protocol):
    """Where replies are kept."""

    async def get(self, key: bytes) -> LLMResponse | None:
        """The reply kept under a key, or None."""
        ...

    async def put(self, key: bytes, reply: LLMResponse, ttl: float | None = None) -> None:
        """Keeps a reply for `ttl` seconds; None: as the options say."""
        ...

    async def close(self) -> None:
        """Ends the use of the cache."""
        ...


def cache_key(request: LLMRequest, where: str, model: str, tenant: str = "") -> bytes:
    """`where` is the provider and its address, `tenant` whose key it is: two tenants never share an answer.

    A short request is its own key, which costs half of a digest; no digest is as long as that.
    """
    rest = _rest(request)
    meaning = (where, model, tenant, request.messages)
    written = _encode(meaning if rest == _PLAIN else meaning + rest)
    return written if len(written) <= LONGEST_KEY else digest(written)


def digest(key: bytes) -> bytes:
    return hashlib.blake2b(key, digest_size=16).digest()


def _rest(request: LLMRequest) -> tuple[Any, ...]:
    """What changes the answer beside the messages, and is left out of most requests."""
    return (
        request.tools,
        request.tool_choice,
        request.response_format,
        request.temperature,
        request.top_p,
        request.max_tokens,
        request.stop,
        request.seed,
        request.reasoning,
        request.extra,
    )


_PLAIN = _rest(LLMRequest(messages=[{"role": "user", "content": ""}]))


def keepable(reply: LLMResponse) -> bool:
    return reply.finish_reason in KEEPABLE and reply.parts != ()


class MemoryCache:
    """The newest replies, up to a number and a size; the least recently used one goes first.

    They are kept as bytes, so that nothing is shared that a caller could change, and the garbage collector has one object to look at
    rather than a dozen: as bytes of ours, or as those that came, with what reads them.
    """

    def __init__(self, options: CacheOptions | None = None, clock: Clock = MONOTONIC) -> None:
        self._options = options or CacheOptions()
        self._clock = clock
        self._kept: OrderedDict[bytes, tuple[bytes, Read, float]] = OrderedDict()
        self.size = 0
        self.hits = self.misses = self.evicted = 0

    def __len__(self) -> int:
        return len(self._kept)

    async def get(self, key: bytes) -> LLMResponse | None:
        """The reply kept under a key, or None."""
        return self.look(key)

    async def put(self, key: bytes, reply: LLMResponse, ttl: float | None = None) -> None:
        """Keeps a reply for `ttl` seconds; None: as the options say."""
        self.keep(key, reply, ttl)

    async def close(self) -> None:
        """Forgets all replies."""
        self._kept.clear()
        self.size = 0

    # The same without a coroutine each, for those who know that it waits for nothing.

    def look(self, key: bytes) -> LLMResponse | None:
        """`get`, without a coroutine."""
        found = self._kept.get(key)
        if found is not None and found[2] > self._clock.now():
            self._kept.move_to_end(key)
            self.hits += 1
            return found[1](found[0])
        if found is not None:
            self._drop(key)
        self.misses += 1
        return None

    def keep(self, key: bytes, reply: LLMResponse, ttl: float | None = None) -> None:
        """`put`, without a coroutine."""
        self.keep_written(key, _encode(reply), _read, ttl)

    def keep_written(self, key: bytes, written: bytes, read: Read, ttl: float | None = None) -> None:
        """A reply as it came: `read` makes one of it each time that it is asked for."""
        kept, options = self._kept, self._options
        if key in kept:
            self._drop(key)
        size = PER_ENTRY + len(key) + len(written)
        if size > options.max_bytes:
            return
        kept[key] = (written, read, self._clock.now() + (options.ttl if ttl is None else ttl))
        self.size += size
        while len(kept) > options.entries or self.size > options.max_bytes:
            oldest, (gone, _, _) = kept.popitem(last=False)
            self.size -= PER_ENTRY + len(oldest) + len(gone)
            self.evicted += 1

    def _drop(self, key: bytes) -> None:
        self.size -= PER_ENTRY + len(key) + len(self._kept.pop(key)[0])
