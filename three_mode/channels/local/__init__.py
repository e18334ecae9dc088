"""The AI-PC mode: models in this process, their values as ours, and their streams."""
