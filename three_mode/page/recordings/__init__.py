"""Recordings as films: an index that opens at once, places in it, turns of agents, and requests as trees."""
