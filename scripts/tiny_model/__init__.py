"""The training of the small model that comes with local_models."""
