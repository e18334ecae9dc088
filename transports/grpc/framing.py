"""Messages in a stream of bytes: each after a flag that says whether it is compressed, and its length in four bytes."""

import struct
import zlib
from collections.abc import Iterator

from transports.grpc.status import GrpcError, GrpcStatus

PREFIX = struct.Struct(">BI")
#: Bytes of one message, as other implementations limit what they receive.
MOST_BYTES = 4 << 20
#: Encodings of messages that both sides read.
ENCODINGS = (b"identity", b"gzip", b"deflate")
_WINDOW = {b"gzip": 31, b"deflate": 15}  # as zlib names the two formats


def is_grpc(content_type: bytes) -> bool:
    """Whether a content type says that protobuf messages of gRPC follow."""
    kind = content_type.partition(b";")[0].strip().lower()
    return kind in (b"application/grpc", b"application/grpc+proto")


def frame(message: bytes, encoding: bytes = b"identity") -> bytes:
    """A message with its prefix, compressed where an encoding is named."""
    if encoding == b"identity":
        return PREFIX.pack(0, len(message)) + message
    packer = zlib.compressobj(wbits=_WINDOW[encoding])
    packed = packer.compress(message) + packer.flush()
    return PREFIX.pack(1, len(packed)) + packed


class Unframer:
    """Takes bytes as they come and gives whole messages.

    A message above `most` bytes is RESOURCE_EXHAUSTED as soon as its prefix is there, or as soon as so many bytes are
    unpacked: neither takes memory for what is refused.
    """

    __slots__ = ("_buffer", "_encoding", "_most")

    def __init__(self, encoding: bytes = b"identity", most: int = MOST_BYTES) -> None:
        if encoding not in ENCODINGS:
            raise GrpcError(GrpcStatus.UNIMPLEMENTED, f"messages are not read in the encoding {encoding[:40]!r}")
        self._encoding, self._most = encoding, most
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are whole with these bytes."""
        if not self._buffer and len(data) >= 5 and not data[0]:  # nearly always one whole message
            size = int.from_bytes(data[1:5], "big")
            if len(data) == size + 5 and size <= self._most:
                return [data[5:]]
        self._buffer += data
        return list(self._whole())

    def _whole(self) -> Iterator[bytes]:
        buffer = self._buffer
        start = 0
        try:
            while len(buffer) - start >= 5:
                packed, size = PREFIX.unpack_from(buffer, start)
                if packed > 1:
                    raise GrpcError(GrpcStatus.INTERNAL, f"a message begins with the flag {packed}, and not 0 or 1")
                if size > self._most:
                    raise _too_large(self._most)
                if len(buffer) - start - 5 < size:
                    return
                message = bytes(memoryview(buffer)[start + 5 : start + 5 + size])
                start += 5 + size
                yield self._unpacked(message) if packed else message
        finally:
            del buffer[:start]

    def end(self) -> None:
        """No more bytes come: half a message is INTERNAL."""
        if self._buffer:
            raise GrpcError(GrpcStatus.INTERNAL, "the stream ended within a message")

    def _unpacked(self, message: bytes) -> bytes:
        if self._encoding == b"identity":
            raise GrpcError(GrpcStatus.INTERNAL, "a message is compressed, and no grpc-encoding says how")
        unpacker = zlib.decompressobj(wbits=_WINDOW[self._encoding])
        try:
            found = unpacker.decompress(message, self._most + 1)
        except zlib.error:
            raise GrpcError(GrpcStatus.INTERNAL, "a message cannot be unpacked") from None
        if len(found) > self._most:
            raise _too_large(self._most)
        if not unpacker.eof or unpacker.unused_data:
            raise GrpcError(GrpcStatus.INTERNAL, "a packed message is cut short, or longer than it says")
        return found


def _too_large(most: int) -> GrpcError:
    return GrpcError(GrpcStatus.RESOURCE_EXHAUSTED, f"a message is longer than {most} bytes")
