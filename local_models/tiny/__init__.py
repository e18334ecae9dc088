"""The weights of the tiny model that comes with the package; `scripts/tiny_model` trains them."""
