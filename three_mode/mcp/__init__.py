"""The Model Context Protocol, by hand: its messages and eras, a server of tools, and a client.

Programs use `Tools.from_mcp`, `three-mode serve` and `three-mode mcp`, which are made of this.
"""
