"""Transport for httpx: `httpx.AsyncClient(transport=HTTP2Transport())`."""

from typing import Any, ClassVar

import httpx

from transports.http2.adapter import Adapter
from transports.http2.bridge import ResponseBytes


class HTTPXBody(ResponseBytes, httpx.AsyncByteStream):
    """Body of a response, as httpx reads it."""


class HTTP2Transport(Adapter, httpx.AsyncBaseTransport):
    __doc__ = Adapter.__doc__
    library: ClassVar[Any] = httpx
    body: ClassVar[Any] = HTTPXBody
