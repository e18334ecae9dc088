"""HPACK with a cache: equal header blocks against an unchanged table are encoded and decoded once.

A program calls few URLs with few sets of headers, and servers answer with few as well, but `hpack` spends 40 us a call
on them. The meaning of a block depends only on its bytes and the dynamic table, so a cached result is valid until the
table changes. Each table here counts its changes.

The encoder never adds API keys to the table (RFC 7541, section 7.1). Values that differ with every call are not added
either: each would evict a useful entry and invalidate the cache.
"""

from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import hpack
from hpack.hpack import encode_integer
from hpack.table import HeaderTable

from transports.http2.request import SECRET_HEADERS, Header

REMEMBERED = 256  # blocks in a cache; one more clears it
VOLATILE_HEADERS = frozenset(
    (
        b"content-length",
        b"date",
        b"grpc-message",
        b"grpc-status-details-bin",
        b"grpc-timeout",
        b"idempotency-key",
        b"traceparent",
        b"tracestate",
        b"x-client-request-id",
        b"x-request-id",
        b"x-stainless-retry-count",
    )
)


class CountingTable(HeaderTable):
    """A dynamic table that counts its changes."""

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0

    def add(self, name: bytes, value: bytes) -> None:
        self.changes += 1
        super().add(name, value)

    @property
    def maxsize(self) -> int:
        return super().maxsize

    @maxsize.setter
    def maxsize(self, newmax: int) -> None:
        if newmax == self.maxsize:
            return  # hpack would drop an earlier change that the peer has not received yet
        self.changes += 1
        HeaderTable.maxsize.__set__(self, newmax)  # type: ignore[attr-defined]


class CachingEncoder(hpack.Encoder):
    """Encoder with a cache, for `H2Connection.encoder`. Header names must be in lower case."""

    def __init__(self) -> None:
        super().__init__()
        self.header_table: CountingTable = CountingTable()
        self._known: dict[tuple[Header, ...], bytes] = {}
        self._known_at = 0

    def encode(self, headers: Iterable[Any], huffman: bool = True) -> bytes:
        stable = []
        literals = b""
        for header in headers:
            if header[0] in VOLATILE_HEADERS:
                literals += _literal(header[0], header[1])
            else:
                stable.append(header)
        key = tuple(stable)
        table = self.header_table
        if table.changes == self._known_at:
            block = self._known.get(key)
            if block is not None:
                return block + literals
        resized = table.resized
        if resized:
            # Of any number of changes, only the smallest size and the last are sent (RFC 7541, section 4.2).
            smallest, last = min(self.table_size_changes), self.table_size_changes[-1]
            self.table_size_changes = [last] if smallest == last else [smallest, last]
        block = super().encode([(name, value, name in SECRET_HEADERS) for name, value in stable], huffman)
        if table.changes != self._known_at or len(self._known) >= REMEMBERED:
            self._known.clear()
        if table.changes == self._known_at and not resized:
            # Encoding left the table unchanged, so the block is valid next time.
            self._known[key] = block
        self._known_at = table.changes
        return block + literals


class CachingDecoder(hpack.Decoder):
    """For `H2Connection.decoder`. What a peer can make it remember is bounded: long blocks are worked out each time."""

    most_blocks = REMEMBERED
    longest_block = 4_096  # bytes
    most_fields = 128  # a block of one byte a field can name long ones again and again

    def __init__(self) -> None:
        super().__init__()
        self.header_table: CountingTable = CountingTable()
        self._known: dict[bytes, Iterable[hpack.HeaderTuple]] = {}
        self._known_at = 0

    def decode(self, data: bytes, raw: bool = False) -> Iterable[hpack.HeaderTuple]:
        table = self.header_table
        if raw and table.changes == self._known_at:
            headers = self._known.get(data)
            if headers is not None:
                return headers
        headers = super().decode(data, raw)
        if table.changes != self._known_at:
            self._known.clear()
            self._known_at = table.changes
        elif raw and len(data) <= self.longest_block:
            headers = list(headers)
            if len(headers) <= self.most_fields:
                if len(self._known) >= self.most_blocks:
                    self._known.clear()
                self._known[data] = headers
        return headers


def _literal(name: bytes, value: bytes) -> bytes:
    """Encodes a field without indexing and without Huffman: cheap for a value that differs each time."""
    size = len(value)
    return _literal_name(name) + (size.to_bytes(1, "big") if size < 127 else encode_integer(size, 7)) + value


@lru_cache(maxsize=64)
def _literal_name(name: bytes) -> bytes:
    known = HeaderTable.STATIC_TABLE_MAPPING.get(name)
    if known is not None:
        return bytes(encode_integer(known[0], 4))
    return b"\0" + encode_integer(len(name), 7) + name
