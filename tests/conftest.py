"""Settings that all tests share."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# Shared, slow machines: no example is wrong for being slow. `soak` digs deeper than a run that should end in minutes.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("soak", settings.get_profile("default"), max_examples=5000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

NEED_HF = "THREE_MODE_TESTS_NEED_HF"  # set where the tests of Hugging Face models must run
_left_out = pytest.StashKey[int]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out tests of soak and of clients, unless `-m` selects them; and those that need PyTorch, or a GPU, where
    there is none."""
    apart = [item for item in items if item.get_closest_marker("soak") or item.get_closest_marker("clients")]
    left_out = [] if config.option.markexpr else apart
    if find_spec("torch") is None or find_spec("transformers") is None:
        need_hf = [item for item in items if item.get_closest_marker("hf")]
        if need_hf and os.environ.get(NEED_HF):
            raise pytest.UsageError(f"{NEED_HF} is set, and the extra `hf` is not installed: scripts/venv.py hf")
        config.stash[_left_out] = len(need_hf)
        left_out += need_hf
    need_gpu = [item for item in items if item.get_closest_marker("gpu")]
    left_out += need_gpu if need_gpu and not _has_gpu() else []
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in set(left_out)]


def _has_gpu() -> bool:
    """Whether the llama.cpp that is installed finds one."""
    from local_models.llama import devices

    return any(device.kind == "gpu" for device in devices())


def pytest_report_collectionfinish(config: pytest.Config) -> str:
    """Says what is left out, and how it is not."""
    count = config.stash.get(_left_out, 0)
    said = f"{count} tests of Hugging Face models are left out: `python3 scripts/venv.py hf` installs what they need"
    return said if count else ""


@pytest.fixture(scope="session")
def hugging_face(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder with small Hugging Face models, and what transformers says of them; see tests/support/local_models."""
    from tests.support.local_models.hugging_face_models import told

    return told(tmp_path_factory.mktemp("hugging-face"))
