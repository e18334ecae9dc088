"""What is done for a load before a worker is started: the model is found and checked, and its options are."""

from pathlib import Path

from local_models.gguf import Summary
from local_models.options import LoadOptions
from local_models.transformers.download import find_or_download
from local_models.transformers.folder import check_folder
from local_models.transformers.installed import require_installed
from local_models.transformers.options import check_options, shape_of


def prepared_folder(model: str, options: LoadOptions) -> Path:
    """Returns the folder of a model that is worth a worker; every error that can be known by now is raised."""
    folder, summary = _checked(model, options)
    shape_of(summary, options)
    require_installed()
    return folder


def needed_bytes(model: str, options: LoadOptions) -> int:
    """Returns the memory of a model: its weights, and its KV caches when all are full."""
    _, summary = _checked(model, options)
    return summary.file_bytes + shape_of(summary, options).kv_bytes(summary)


def _checked(model: str, options: LoadOptions) -> tuple[Path, Summary]:
    check_options(options)
    folder = find_or_download(model, options)
    return folder, check_folder(folder)
