"""A server of the official package, as a program: on standard input and output, or on a port that is given."""

import asyncio
import sys

from mcp.server.mcpserver import Image, MCPServer
from pydantic import BaseModel

server = MCPServer("official")


class Place(BaseModel):
    city: str
    degrees: float


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def where() -> Place:
    return Place(city="Oslo", degrees=4.5)


@server.tool()
def dot() -> Image:
    return Image(data=b"\x89PNG", format="png")


@server.tool()
async def fails() -> str:
    raise ValueError("the river is dry")


@server.tool()
async def sleeps(seconds: float) -> str:
    await asyncio.sleep(seconds)
    return "woke"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run("stdio")
