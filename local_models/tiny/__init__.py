"""The small model of our own: its vocabulary, its tasks, how it is trained and measured."""
