"""Supervision: host processes, the roster of agents, restarts and their limits, control from outside."""
