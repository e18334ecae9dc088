"""Broadcasts by topic: publications, subscriptions, and their delivery."""
