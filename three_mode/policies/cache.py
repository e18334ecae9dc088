"""Cache of whole replies, keyed by everything that can change the answer.

It never stores errors, replies that are cut off, filtered or paused, or replies to requests with
`cache={"response": "skip"}`. "refresh" calls the provider again and stores the new reply.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import msgspec

from three_mode.frozen_options import FrozenOptions
from three_mode.messages import LLMRequest, LLMResponse, from_msgpack
from three_mode.policies.clock import MONOTONIC, Clock

PER_ENTRY = 100  # bytes beside key and reply
LONGEST_KEY = 1024  # bytes; a longer key is replaced by its digest
KEEPABLE = frozenset(("stop", "tool_calls"))
_encode = msgspec.msgpack.Encoder().encode
Read = Callable[[bytes], LLMResponse]
_read: Read = partial(from_msgpack, LLMResponse)


class CacheOptions(FrozenOptions, frozen=True, kw_only=True):
    """Options of the cache of replies."""

    ttl: float = 3600.0  #: seconds that a reply is kept
    entries: int = 1000  #: most replies kept
    max_bytes: int = 64 * 1024 * 1024  #: most bytes of replies kept
    path: str | Path | None = None  #: a file that keeps the replies beyond the end of the process; None: memory


class ResponseCache(Protocol):
    """Store of replies."""

    async def get(self, key: bytes) -> LLMResponse | None:
        """The reply stored under a key, or None."""
        ...

    async def put(self, key: bytes, reply: LLMResponse, ttl: float | None = None) -> None:
        """Stores a reply for `ttl` seconds; None: as the options say."""
        ...

    async def close(self) -> None:
        """Ends the use of the cache."""
        ...


def cache_key(request: LLMRequest, where: str, model: str, tenant: str = "", others: Sequence[object] = ()) -> bytes:
    """Key of a request. `where` is the provider and its address, `tenant` the account: tenants never share an answer.
    `others` says who may answer in place of that model: a route and its fallback never share an answer with a call that
    means the model alone.

    A short request is its own key, which costs half the time of a digest; a digest is shorter than any such key.
    """
    rest = _rest(request)
    meaning: tuple[Any, ...] = (where, model, tenant, request.messages)
    if request.prompt is not None:
        meaning += ("prompt", request.prompt)
    if others:
        meaning += (others,)
    written = _encode(meaning if rest == _PLAIN else meaning + rest)
    return written if len(written) <= LONGEST_KEY else digest(written)


def digest(key: bytes) -> bytes:
    """Digest of a key."""
    return hashlib.blake2b(key, digest_size=16).digest()


def _rest(request: LLMRequest) -> tuple[Any, ...]:
    """Fields that change the answer beside the messages, and that most requests leave out."""
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
    """Whether a reply is whole, so that it may be stored."""
    return reply.finish_reason in KEEPABLE and reply.parts != ()


class MemoryCache:
    """Cache in memory, bounded by a number and a size; the least recently used reply is evicted first.

    Replies are stored as bytes, so that callers share nothing that they could change, and the garbage collector visits
    one object rather than a dozen. The bytes are our encoding, or those of the provider with a function that decodes
    them.
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
        """The reply stored under a key, or None."""
        return self.look(key)

    async def put(self, key: bytes, reply: LLMResponse, ttl: float | None = None) -> None:
        """Stores a reply for `ttl` seconds; None: as the options say."""
        self.keep(key, reply, ttl)

    async def close(self) -> None:
        """Removes all replies."""
        self._kept.clear()
        self.size = 0

    # --- without coroutines, for callers that know the cache is in memory ---

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
        """Stores a reply as its bytes; `read` decodes them at each hit."""
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
