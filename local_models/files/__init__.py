"""Model files on this computer: the catalogue of models by name, and the download into it."""

from typing import TYPE_CHECKING

from local_models.files.catalogue import (
    TINY,
    CatalogueEntry,
    add,
    entries,
    find,
    folder,
    inspect,
    not_here,
    paths,
    remove,
    valid_name,
)
from local_models.files.known import KNOWN, KnownModel, ModelWheel
from local_models.lazy import lazy_names

if TYPE_CHECKING:
    from local_models.files.download import pull as pull

__all__ = [
    "KNOWN",
    "TINY",
    "CatalogueEntry",
    "KnownModel",
    "ModelWheel",
    "add",
    "entries",
    "find",
    "folder",
    "inspect",
    "not_here",
    "paths",
    "pull",
    "remove",
    "valid_name",
]

__getattr__ = lazy_names(__name__, {"pull": "local_models.files.download"})  # the download's imports cost milliseconds
