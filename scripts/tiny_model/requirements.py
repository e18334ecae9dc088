"""Says how to install the packages that only the training needs."""

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def training_group() -> Iterator[None]:
    """Wraps the imports of the `train` dependency group; a missing package raises an error that names the command."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"the training of the tiny model needs `{error.name}`: `python3 scripts/venv.py train` installs the "
            "dependency group `train` into .venv",
            name=error.name,
        ) from None
