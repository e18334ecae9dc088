"""The head of a request, whichever version of HTTP it came in; and the error that refuses one."""

from typing import Any
from urllib.parse import unquote

from transports.http2.request import Header


class BadRequest(Exception):
    """A request that is refused with this status before an application sees it."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status
        self.why = why


class RequestHead:
    """A checked head. Header names are in lower case; `host` holds HTTP/2's `:authority`.

    `notes` are an application's, of all heads that say the same but for the length of the body.
    """

    __slots__ = (
        "chunked",
        "content_length",
        "expects_continue",
        "headers",
        "http_version",
        "keep_alive",
        "method",
        "notes",
        "path",
        "query",
        "raw_path",
        "upgrade",
    )

    def __init__(self, method: str, target: bytes, http_version: str, headers: list[Header]) -> None:
        self.method = method
        self.http_version = http_version
        self.headers = headers
        self.raw_path, _, self.query = target.partition(b"?")
        path = self.raw_path.decode("ascii")
        self.path = unquote(path) if "%" in path else path
        self.content_length: int | None = None
        self.chunked = False
        self.keep_alive = True
        self.expects_continue = False
        self.upgrade = b""
        self.notes: dict[object, Any] = {}

    def of_length(self, digits: bytes) -> "RequestHead":
        """The same head before a body of another length."""
        other = RequestHead.__new__(RequestHead)
        for name in RequestHead.__slots__:
            setattr(other, name, getattr(self, name))
        other.content_length = int(digits)
        other.headers = [(name, digits) if name == b"content-length" else (name, value) for name, value in self.headers]
        return other

    @property
    def has_body(self) -> bool:
        """Whether bytes of a body follow."""
        return self.chunked or bool(self.content_length)
