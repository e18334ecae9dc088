"""A model of transformers in its worker beside `generate` of transformers itself; the worker's load and its end."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.harness import Benchmark, Context, Missing, Row, Target, alternate
from local_models import LoadOptions, LocalModel

ROOT = Path(__file__).parents[1]
TOKENS, PROMPT = 64, "The quick brown fox"
ONE, FOUR, LOAD, CLOSE = "one caller", "four callers", "load", "close"
OURS, THEIRS = "three-mode", "generate"
HOW_TO_GET = "python3 scripts/venv.py hf"
GENERATE = """
import sys, threading, time, warnings
warnings.simplefilter("ignore")
started = time.perf_counter()
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, TextIteratorStreamer
model = AutoModelForCausalLM.from_pretrained(sys.argv[1]).eval()
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
print(time.perf_counter() - started, flush=True)
for line in sys.stdin:
    ids = tokenizer(sys.argv[2], return_tensors="pt")
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True)
    tokens = int(sys.argv[3])
    how = dict(do_sample=False, max_new_tokens=tokens, min_new_tokens=tokens, streamer=streamer, pad_token_id=0)
    started = time.perf_counter()
    thread = threading.Thread(target=lambda: model.generate(**ids, **how))
    thread.start()
    for _ in streamer:
        pass
    thread.join()
    print(tokens / (time.perf_counter() - started), flush=True)
"""


class Generate:
    """transformers in a process of its own, which answers a line with tokens a second."""

    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", GENERATE, str(folder), PROMPT, str(TOKENS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"GOMP_SPINCOUNT": "2000", **os.environ},  # which local_models sets for the worker
            text=True,
        )
        self.load_seconds = self._number()

    def _number(self) -> float:
        assert self._process.stdout is not None
        return float(self._process.stdout.readline())

    def measure(self) -> float:
        """Tokens a second of one answer."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._number()

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.communicate()


@contextmanager
def _model() -> Iterator[Path]:
    with TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "scripts.hf_model", folder, "--layers", "8", "--width", "512"]
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
        yield Path(folder)


async def _answers(model: LocalModel, callers: int) -> float:
    """Tokens a second of all callers together, streamed."""

    async def answer() -> int:
        stream = model.stream_complete(PROMPT, temperature=0, max_tokens=TOKENS)
        return sum([len(piece.tokens) async for piece in stream])

    started = time.perf_counter()
    tokens = await asyncio.gather(*(answer() for _ in range(callers)))
    return sum(tokens) / (time.perf_counter() - started)


def run(context: Context) -> Iterator[Row | Missing]:
    if find_spec("torch") is None or find_spec("transformers") is None:
        yield Missing(case=ONE, subject=THEIRS, how_to_get=HOW_TO_GET)
        return
    context.progress("writing a model of random weights")
    with _model() as folder, asyncio.Runner() as runner:
        started = time.perf_counter()
        model = runner.run(LocalModel.load(f"hf:{folder}", LoadOptions()))
        load_seconds = time.perf_counter() - started
        peer = Generate(folder)
        try:
            context.progress(ONE)
            takes: dict[str, Callable[[], float]] = {
                OURS: lambda: runner.run(_answers(model, 1)),
                THEIRS: peer.measure,
            }
            rows = {ONE: alternate(takes, context.rounds(9), 1)}
            context.progress(FOUR)
            rows[FOUR] = alternate({OURS: lambda: runner.run(_answers(model, 4))}, context.rounds(5), 1)
        finally:
            peer.close()
            started = time.perf_counter()
            runner.run(model.close())
            close_seconds = time.perf_counter() - started
        for case, subjects in rows.items():
            for subject, samples in subjects.items():
                yield Row(case=case, subject=subject, unit="tokens/s", samples=samples, higher_is_better=True)
        yield Row(case=LOAD, subject=OURS, unit="s", samples=[load_seconds])
        yield Row(case=LOAD, subject=THEIRS, unit="s", samples=[peer.load_seconds])
        yield Row(case=CLOSE, subject=OURS, unit="s", samples=[close_seconds])


BENCHMARK = Benchmark(
    summary="a model of transformers in its worker, beside `generate` with a streamer in a process of its own",
    run=run,
    targets=[Target(case=ONE, subject=OURS, peer=THEIRS, at_least=1.0)],
    notes="Random weights, 8 layers of width 512, on the CPU. The load is mostly the imports of PyTorch.",
)
