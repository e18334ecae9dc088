"""Which sequence decodes next, and which cells of the KV cache it has. Pure: no engine, no clock of its own."""
