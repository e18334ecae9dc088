"""Servers of MCP that offer one tool, as programs: of fastmcp, or of the official package.

Run by the Python that has them, so it imports nothing of ours.
"""

import sys


def forecast(city: str, days: int = 1) -> str:
    """The weather of the next days."""
    return f"{city}: {days} days of sun"


def main(kind: str, port: int) -> None:
    """Serves until the process is killed."""
    if kind == "fastmcp":
        from fastmcp import FastMCP

        server = FastMCP("peer")
        server.tool(forecast)
        server.run(transport="http", host="127.0.0.1", port=port, log_level="error", show_banner=False)
    else:
        from mcp.server.mcpserver import MCPServer

        official = MCPServer("peer", log_level="ERROR")
        official.tool()(forecast)
        official.run("streamable-http", port=port)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
