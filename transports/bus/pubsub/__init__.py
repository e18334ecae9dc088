"""Publications, subscriptions, and the delivery of what was published."""
