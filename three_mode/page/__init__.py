"""The page: what agents, models and money do, live, for people."""
