"""Whether the extra `hf` is installed, without importing what it has."""

from importlib.util import find_spec

from local_models.errors import EngineMissing

NEEDED = ("torch", "transformers", "safetensors", "jinja2")


def missing() -> list[str]:
    """Names of the packages that are not there."""
    return [name for name in NEEDED if find_spec(name) is None]


def require_installed() -> None:
    """Raises `EngineMissing` where a package is not there."""
    absent = missing()
    if absent:
        raise EngineMissing(
            f"models of Hugging Face need {', '.join(absent)}, which is not installed",
            hint="pip install 'three-mode[hf]'; without a GPU, install PyTorch's CPU build before, it is far smaller",
        )
