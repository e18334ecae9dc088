"""Training and measurement of the tiny model, whose weights are in local_models/tiny."""
