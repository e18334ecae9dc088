"""Keeping agents alive: host processes, the roster of agents, restarts and their limits."""
