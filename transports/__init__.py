"""Moves bytes; knows nothing of models, agents or modes."""
