"""llm, the command: a model in its list of those that speak OpenAI's format."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

with tempfile.TemporaryDirectory() as folder:
    Path(folder, "extra-openai-models.yaml").write_text(
        f"- model_id: here\n  model_name: clerk\n  api_base: {sys.argv[1]}/v1\n  api_key_name: here\n"
    )
    Path(folder, "keys.json").write_text(json.dumps({"here": sys.argv[2]}))
    command = [str(Path(sys.executable).with_name("llm")), "-m", "here", "apple"]
    ways = {"streamed": command, "whole": [*command, "--no-stream"]}
    settings = {**os.environ, "LLM_USER_PATH": folder}
    print(
        json.dumps(
            {
                name: subprocess.run(way, env=settings, check=True, capture_output=True, text=True).stdout.strip()
                for name, way in ways.items()
            }
        )
    )
