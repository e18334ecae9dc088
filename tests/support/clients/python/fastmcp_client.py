"""fastmcp's client of MCP: the tools of agents, and a call of one."""

import asyncio
import json
import sys

from fastmcp import Client
from fastmcp.client.auth import BearerAuth


async def main() -> None:
    async with Client(f"{sys.argv[1]}/mcp", auth=BearerAuth(sys.argv[2])) as client:
        tools = [tool.name for tool in await client.list_tools()]
        called = await client.call_tool("clerk_weather", {"city": "Paris"})
    print(json.dumps({"tools": tools, "called": called.content[0].text}))


asyncio.run(main())
