"""Runs GGUF models in this process; knows nothing of modes, agents or the network."""
