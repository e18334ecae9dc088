"""MCP: agents' handlers and models as tools of other programs, over HTTP and over standard input."""
