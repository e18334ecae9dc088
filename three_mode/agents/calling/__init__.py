"""Calling agents: references, and the verbs ask, tell, stream, broadcast and gather."""
