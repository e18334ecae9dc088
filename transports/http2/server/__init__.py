"""A server for ASGI applications: HTTP/1.1, HTTP/2 and WebSockets on one port, every limit and time-out an option.

    async with Server(application, ServerOptions(port=8080)) as server:
        ...

See docs/decisions/serve-server.md.
"""

from transports.http2.server.cycle import Application, Cycle
from transports.http2.server.head import RequestHead
from transports.http2.server.options import ServerOptions
from transports.http2.server.server import Server

__all__ = ["Application", "Cycle", "RequestHead", "Server", "ServerOptions"]
