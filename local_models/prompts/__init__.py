"""What a model is given: chat templates, grammars and tools."""
