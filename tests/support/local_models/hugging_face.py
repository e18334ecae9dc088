"""What transformers itself says, and what the worker's own parts do, as one JSON object.

    python -m tests.support.local_models.hugging_face FOLDER

It writes small models into FOLDER, has transformers answer with them, and gives the backend of a worker what a worker
cannot be given from outside. One process does it all, since the imports of PyTorch take longer than the rest, and the
process of the tests stays without them.
"""

import asyncio
import json
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from local_models import Generate, LoadOptions, LocalModelError, Piece
from local_models.backend import GenerationRequest
from local_models.transformers.backend import TransformersBackend  # before transformers: it sets the environment

import torch  # isort: skip
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, T5Config

from scripts.hf_model import write

MESSAGES = [
    {"role": "system", "content": "Answer in one word."},
    {"role": "user", "content": "What is 2 + 2? Größe, 東京 🙂"},
    {"role": "assistant", "content": "4"},
    {"role": "user", "content": "And <|im_end|> is what?"},
]
TEXT = "The quick brown"
TEXTS = ["What is the time?", "A model is just another agent, loaded once."]
TOKENS = 60
EVIL = "import pathlib; pathlib.Path({marker!r}).touch()\n"


class Reference:
    """A model as transformers runs it."""

    def __init__(self, folder: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = AutoModelForCausalLM.from_pretrained(folder).eval()

    def answer(self, prompt: list[int], **how: Any) -> dict[str, Any]:
        """The greedy answer to a prompt, without the token that ended it, and the log-probability of each token."""
        ids = torch.tensor([prompt])
        out = self.model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=TOKENS,
            return_dict_in_generate=True,
            output_logits=True,
            pad_token_id=0,
            **how,
        )
        tokens = out.sequences[0, len(prompt) :].tolist()
        logs = [float(row[0].float().log_softmax(0)[token]) for row, token in zip(out.logits, tokens, strict=True)]
        ended = tokens[-1] == self.tokenizer.eos_token_id
        tokens = tokens[:-1] if ended else tokens
        text = self.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return {
            "prompt": prompt,
            "tokens": tokens,
            "text": text,
            "logprobs": logs,
            "finish": "stop" if ended else "length",
        }

    def chat(self) -> dict[str, Any]:
        """The answer to the messages, without the last one, whose text transformers takes for a control token."""
        return self.answer(
            self.tokenizer.apply_chat_template(MESSAGES[:2], add_generation_prompt=True, return_dict=False)
        )


def references(llama: Path, gpt2: Path, bert: Path) -> dict[str, Any]:
    """What transformers answers."""
    of_llama, of_gpt2 = Reference(llama), Reference(gpt2)
    encoder, tokenizer = AutoModel.from_pretrained(bert).eval(), AutoTokenizer.from_pretrained(bert)
    vectors, first = [], []
    with torch.inference_mode():
        for text in TEXTS:
            hidden = encoder(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
            vectors.append(torch.nn.functional.normalize(hidden.mean(0), dim=0).tolist())
            first.append(torch.nn.functional.normalize(hidden[0], dim=0).tolist())
    return {
        "llama_chat": of_llama.chat(),
        "llama_text": of_llama.answer(of_llama.tokenizer(TEXT).input_ids),
        "gpt2_text": of_gpt2.answer(of_gpt2.tokenizer(TEXT).input_ids),
        "vectors": vectors,
        "first_token_vectors": first,
    }


def refused(folder: Path, **options: Any) -> str:
    """The error of a load; "" where it succeeds."""
    try:
        TransformersBackend(str(folder), LoadOptions(**options)).abandon()
    except LocalModelError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def refusals(llama: Path) -> dict[str, Any]:
    """What the worker refuses."""
    root, marker = llama.parent, llama.parent / "ran"
    found: dict[str, Any] = {"cuda": refused(llama, device="cuda:7")}

    def changed(name: str, **config: Any) -> Path:
        folder = root / name
        shutil.copytree(llama, folder)
        plain = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(plain | config))
        (folder / "strange.py").write_text(EVIL.format(marker=str(marker)))
        return folder

    lacking = changed("lacking") / "model.safetensors"
    tensors = load_file(lacking)
    tensors.pop("model.layers.1.mlp.up_proj.weight")
    save_file(tensors, lacking, metadata={"format": "pt"})
    found["lacking"] = refused(lacking.parent)
    found["code"] = refused(
        changed("code", model_type="strange", auto_map={"AutoConfig": "strange.C", "AutoModelForCausalLM": "strange.M"})
    )
    tokenizer = changed("tokenizer")
    plain = json.loads((tokenizer / "tokenizer_config.json").read_text())
    plain |= {"tokenizer_class": "Strange", "auto_map": {"AutoTokenizer": ["strange.T", None]}}
    (tokenizer / "tokenizer_config.json").write_text(json.dumps(plain))
    found["tokenizer"] = refused(tokenizer)
    pickled = changed("pickled")
    (pickled / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch " + str(marker).encode() + b"'\ntR.")
    found["pickled"] = refused(pickled)
    both = changed("both")
    T5Config(num_layers=1, d_model=8, d_ff=8, num_heads=1).save_pretrained(both)
    found["encoder_decoder"] = refused(both)
    found["no_tokenizer"] = _without_tokenizer(changed("bare"))
    found["ran"] = marker.exists()
    return found


def _without_tokenizer(folder: Path) -> str:
    for file in ("tokenizer.json", "tokenizer_config.json"):
        (folder / file).unlink()
    return refused(folder)


class Gated:
    """A backend whose steps wait to be let through, and may be made to fail."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.failed = threading.Event()
        self.backend = TransformersBackend(str(folder), LoadOptions(**options), self.failed.set)
        self.engine = self.backend._engine
        self.fails: Exception | None = None
        self.sizes: list[int] = []
        self._turns = threading.Semaphore(0)
        self._forward, self.engine._forward = self.engine._forward, self._gated  # type: ignore[method-assign]

    def _gated(self, tokens: list[int], cache: Any) -> Any:
        assert self._turns.acquire(timeout=60)
        self.sizes.append(len(tokens))
        if self.fails is not None:
            failure, self.fails = self.fails, None
            raise failure
        return self._forward(tokens, cache)

    def let(self, steps: int) -> None:
        """Lets steps through."""
        self._turns.release(steps)

    async def begin(self, prompt: str = TEXT, **how: Any) -> tuple["asyncio.Queue[Any]", Callable[[], None]]:
        """Starts a call; returns what it delivers, and its cancel."""
        items: asyncio.Queue[Any] = asyncio.Queue()
        options = Generate(**{"temperature": 0, "max_tokens": 200, **how})
        request = GenerationRequest(parts=(prompt,), special=False, options=options)
        running = await self.backend.start(request, items.put_nowait)
        return items, running.cancel

    async def until(self, true: Callable[[], bool]) -> None:
        """Waits for something that the engine does."""
        async with asyncio.timeout(60):
            while not true():  # noqa: ASYNC110  (a thread does it)
                await asyncio.sleep(0.002)


async def whole(items: "asyncio.Queue[Any]") -> str:
    """The tokens of a call as text, or its error."""
    tokens: list[int] = []
    while True:
        item = await asyncio.wait_for(items.get(), 60)
        if not isinstance(item, Piece):
            return f"{type(item).__name__}: {item}"
        tokens += item.tokens
        if item.finish is not None:
            return " ".join(map(str, tokens))


async def engine(llama: Path) -> dict[str, Any]:
    """What the engine does step by step."""
    found: dict[str, Any] = {}
    gated = Gated(llama, sequences=1, queue=1, batch=8)
    items, cancel = await gated.begin(f"{TEXT} fox jumps over the lazy dog and the lazy dog over it")
    gated.let(10)
    await gated.until(lambda: len(gated.sizes) == 10)
    found["parts_of_a_prompt"] = [size for size in gated.sizes if size > 1]
    cancel()
    gated.let(100)  # more than it may take
    await gated.until(lambda: gated.engine.running == 0)
    found["steps_after_a_cancel"] = len(gated.sizes) - 10
    gated = Gated(llama, sequences=1, queue=1)
    _, cancel = await gated.begin()
    await gated.until(lambda: gated.engine.running == 1)
    second, _ = await gated.begin(within=0.05)
    try:
        await gated.begin()
        found["queue_full"] = ""
    except LocalModelError as error:
        found["queue_full"] = f"{type(error).__name__}: {error}"
    await asyncio.sleep(0.1)  # the deadline of the second passes
    gated.let(1)
    found["late_in_queue"] = await whole(second)
    cancel()
    gated.let(1)
    await gated.until(lambda: gated.engine.running == 0)
    for name, failure in {
        "gpu_memory": torch.OutOfMemoryError("CUDA out of memory"),
        "memory": RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory"),
        "broken": ValueError("a shape\nand more"),
    }.items():
        gated.fails = failure
        items, _ = await gated.begin()
        gated.let(1)
        found[name] = await whole(items)
    items, _ = await gated.begin(max_tokens=5)
    gated.let(5)
    found["after_failures"] = await whole(items)
    gated = Gated(llama, sequences=2)
    long, _ = await gated.begin(max_tokens=100)
    short, _ = await gated.begin(max_tokens=5)
    gated.let(40)
    found["short_beside_long"] = await whole(short)
    found["long_is_not_done"] = gated.engine.running  # a call has left before its caller hears of its end
    await gated.backend.close()
    gated.let(2)
    found["closed"] = await whole(long)
    return found | await failing(llama)


async def failing(llama: Path) -> dict[str, Any]:
    """What callers hear when the engine itself fails."""
    gated = Gated(llama, sequences=1)
    first, _ = await gated.begin()
    second, _ = await gated.begin()
    await gated.until(lambda: gated.engine.running == 1)
    gated.fails = SystemError("no step")  # type: ignore[assignment]
    gated.engine._leave = _raise  # type: ignore[method-assign]
    gated.let(1)
    heard = [await whole(first), await whole(second)]
    return {"engine_failed": heard, "told_of_its_failure": gated.failed.wait(60)}


def _raise(*_: Any) -> None:
    raise KeyError("the engine")


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    written = [write(place / "llama"), write(place / "gpt2", "gpt2", template=False), write(place / "bert", "bert")]
    network = AutoModelForCausalLM.from_pretrained(written[0])
    network.save_pretrained(place / "parts", max_shard_size="200KB")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(written[0] / name, place / "parts" / name)
    result = {
        "references": references(*written),
        "refusals": refusals(written[0]),
        "engine": asyncio.run(engine(written[0])),
    }
    sys.stdout.write(json.dumps(result) + "\n")
