"""Questions to one name on the bus, and the answers or streams that come back."""
