"""Registry: the members of a bus, their names and subscriptions, and the exchange of file descriptors."""
