"""Agents on several machines: nodes that find each other over NATS, and call each other's agents by name."""
