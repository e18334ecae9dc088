"""What a handler is: its declaration, the schema of its hints, its encoding and its spans."""
