"""Recording what agents do, and replaying it."""
