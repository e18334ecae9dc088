"""Prompts: chat templates, grammars, and tools."""
