"""Agents at work in one process: actors, mailboxes, broadcasts, lifecycle, and reports."""
