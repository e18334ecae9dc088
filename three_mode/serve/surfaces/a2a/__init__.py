"""Agent2Agent (A2A) 1.0: agents of the bus and models of the endpoint, asked in tasks."""
