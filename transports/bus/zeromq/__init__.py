"""The carrier for everywhere else: ZeroMQ, with sequence numbers, repairs and acknowledgements on top, so that it keeps
the same promises as the rings."""
