"""Values of metadata: the text of a status, percent-encoded, and bytes as base64. Readers are lenient, as is asked of
them."""

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

_UNSAFE = re.compile(rb"[^ -$&-~]")  # all but printable ASCII without %


def write_message(text: str) -> bytes:
    """The text of a status as the value of `grpc-message`."""
    return _UNSAFE.sub(lambda found: b"%%%02X" % found[0][0], text.encode("utf-8", "replace"))


def read_message(value: bytes) -> str:
    """The text in `grpc-message`; what is no text in it is replaced, and no error."""
    return unquote_to_bytes(value).decode("utf-8", "replace")


def write_binary(data: bytes) -> bytes:
    """Bytes as the value of metadata whose name ends with `-bin`: base64 without padding."""
    return base64.b64encode(data).rstrip(b"=")


def read_binary(value: bytes) -> bytes:
    """The bytes in such a value, with padding or without; ValueError for what is no base64."""
    value = value.rstrip(b"=")
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from None
