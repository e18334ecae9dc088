"""An OpenAI-compatible endpoint, with events over a WebSocket, for any model or agent that a connection reaches."""

from three_mode.messages import Embedded
from three_mode.serve.app import App
from three_mode.serve.backend import Backend, ModelInfo
from three_mode.serve.connected import Connected
from three_mode.serve.events import Event, EventHub
from three_mode.serve.options import ServeOptions, Tls
from three_mode.serve.server import serve

__all__ = [
    "App",
    "Backend",
    "Connected",
    "Embedded",
    "Event",
    "EventHub",
    "ModelInfo",
    "ServeOptions",
    "Tls",
    "serve",
]
