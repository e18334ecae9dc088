"""What a worker is told when it starts: the first line of the socket between it and the process that started it."""

import argparse
from pathlib import Path
from typing import Any

from msgspec import Struct

_PATHS = ("certificate", "key", "api_key_file", "talks")


class WorkerOrder(Struct, frozen=True):
    """The command line, and where the models are that all workers share. Keys are none of it: each worker reads them
    where the command line says."""

    options: dict[str, Any]
    path: list[str]
    """`sys.path` of the worker."""
    bus: str = ""
    """The bus of the shared models; empty: there is none."""
    models: dict[str, str] = {}
    """Name that clients use -> address on that bus."""


def written_options(options: argparse.Namespace) -> dict[str, Any]:
    """The options of a command line, but for what parsed them."""
    return {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(options).items()
        if name != "parser"
    }


def read_options(written: dict[str, Any]) -> argparse.Namespace:
    """The options again."""
    paths = {name: Path(written[name]) for name in _PATHS if written.get(name) is not None}
    return argparse.Namespace(**(written | paths))
