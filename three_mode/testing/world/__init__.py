"""World: a system of agents in virtual time, where everything may fail on demand."""
