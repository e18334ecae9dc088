"""Host: one process with an event loop and many agents."""
