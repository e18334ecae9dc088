"""guidellm, the command: a load of four callers at a time, by chat completions, all of whose answers must be whole."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROMPTS = 12
url, key = sys.argv[1:]
with tempfile.TemporaryDirectory() as folder:
    prompts, report = Path(folder, "prompts.jsonl"), Path(folder, "report.json")
    prompts.write_text("".join(json.dumps({"prompt": f"apple {number}"}) + "\n" for number in range(PROMPTS)))
    words = ["run", "--disable-console"]
    words += ["--backend", f"kind=openai_http,target={url},model=clerk,api_key={key}"]
    words += ["--profile", "kind=concurrent,streams=4", "--constraint", f"kind=max_requests,count={PROMPTS}"]
    words += ["--data", f"kind=json_file,path={prompts}", "--output", f"kind=json,path={report}"]
    command = Path(sys.executable).with_name("guidellm")
    subprocess.run([command, *words], env=os.environ | {"HF_HUB_OFFLINE": "1"}, stdout=sys.stderr, check=True)
    requests = json.loads(report.read_text())["benchmarks"][0]["requests"]
answered = requests["successful"]
streamed = sorted({json.loads(each["request_args"])["stream"] for each in answered})
whole = all(each["output"].startswith("apple") for each in answered)
print(json.dumps({"answered": len(answered), "failed": len(requests["errored"]), "streamed": streamed, "whole": whole}))
