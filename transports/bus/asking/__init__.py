"""Requests to one name on the bus, and the replies or streams that come back."""
