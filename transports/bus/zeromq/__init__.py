"""ZeroMQ carrier, for machines without rings and for buses between machines.

Sequence numbers, repairs and acknowledgements on top of ZeroMQ give it the guarantees of the rings.
"""
