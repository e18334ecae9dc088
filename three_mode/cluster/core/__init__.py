"""State of one node of a cluster, without I/O: it takes (now, message) and gives actions."""
