"""Transport for httpx2: `httpx2.AsyncClient(transport=HTTPX2Transport())`.

The official SDKs of OpenAI and Anthropic are built on httpx2. It is an extra: `pip install three-mode[httpx2]`.
"""

from typing import Any, ClassVar

from transports.http2.adapter import Adapter
from transports.http2.bridge import ResponseBytes

try:
    import httpx2
except ImportError:
    raise ImportError("HTTPX2Transport needs httpx2: pip install 'three-mode[httpx2]'") from None


class HTTPX2Body(ResponseBytes, httpx2.AsyncByteStream):
    """Body of a response, as httpx2 reads it."""


class HTTPX2Transport(Adapter, httpx2.AsyncBaseTransport):
    __doc__ = Adapter.__doc__
    library: ClassVar[Any] = httpx2
    body: ClassVar[Any] = HTTPX2Body
