"""One file a mode: a request to its transport, and the reply back."""
