"""Calls to models, from a request to its reply: targets, policies around attempts, cost, and the log of each call."""
