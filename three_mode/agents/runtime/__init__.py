"""Agents at work in one process: actors, their mailboxes, broadcasts to them, and their beginning and end."""
