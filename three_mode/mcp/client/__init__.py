"""A client of MCP servers, over HTTP and to child processes: each wait has a deadline, each buffer a bound."""
