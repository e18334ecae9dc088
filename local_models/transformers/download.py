"""Download of a model from the hub, in a process of its own: it alone may use the network, and only where the options
of a load allow it.

    python -m local_models.transformers.download OWNER/NAME REVISION
"""

import os
import subprocess
import sys
from pathlib import Path

from local_models.errors import DownloadFailed, ModelNotFound
from local_models.options import LoadOptions
from local_models.transformers.address import SCHEME, hub_name
from local_models.transformers.folder import cache_folder, find_here
from local_models.transformers.installed import require_installed

SECONDS = 24 * 3600.0  # longest download
# All that a load reads; weights in other formats stay where they are.
PATTERNS = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]


def find_or_download(model: str, options: LoadOptions) -> Path:
    """Returns the folder of a model. One that is not here is downloaded where `options.network` allows it."""
    folder = find_here(model)
    if folder is not None:
        return folder
    text = model.removeprefix(SCHEME)
    named = hub_name(text)
    assert named is not None
    if not options.network:
        raise ModelNotFound(
            f"{text} is no folder, and not in {cache_folder()}",
            hint=f"`hf download {named[0]}` fetches it, or LoadOptions(network=True)",
        )
    require_installed()
    return _download(*named)


def _download(name: str, revision: str) -> Path:
    allowed = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
    paths = os.pathsep.join(part for part in sys.path if part)
    done = subprocess.run(
        [sys.executable, "-m", "local_models.transformers.download", name, revision],
        capture_output=True,
        text=True,
        check=False,
        timeout=SECONDS,
        env={**allowed, "PYTHONPATH": paths, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise DownloadFailed(f"{name} could not be downloaded: {said[0][:300]}", url=name)
    return Path(done.stdout.strip().splitlines()[-1])


def _main(name: str, revision: str) -> None:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(name, revision=revision, allow_patterns=PATTERNS)
    except Exception as error:  # noqa: BLE001  (whatever it was, the program is told)
        sys.exit(f"{type(error).__name__}: {(str(error).strip().splitlines() or [''])[0]}")
    sys.stdout.write(folder + "\n")


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2])
