"""Folder of a Hugging Face model: finds it, and checks its files before any library reads them.

Only safetensors are accepted: that format holds numbers, while `.bin`, `.pt` and `.pkl` are pickles, which run any code
that their author put into them. Nothing here imports torch.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from local_models.errors import BadModelFile, ModelNotFound
from local_models.gguf import Summary
from local_models.transformers.address import SCHEME, hub_name
from local_models.transformers.templates import template_of

INDEX, SINGLE = "model.safetensors.index.json", "model.safetensors"
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt")
_LONGEST_HEADER = 100 << 20  # bytes, the limit of the format
_BITS = {"F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16}


def cache_folder() -> Path:
    """The folder where the libraries of Hugging Face keep what they downloaded."""
    if chosen := os.environ.get("HF_HUB_CACHE"):
        return Path(chosen).expanduser()
    home = os.environ.get("HF_HOME")
    if home is None:
        home = os.path.join(os.environ.get("XDG_CACHE_HOME") or "~/.cache", "huggingface")
    return Path(home).expanduser() / "hub"


def find_here(model: str) -> Path | None:
    """Returns the folder of `hf:PATH`, or of `hf:OWNER/NAME` in the cache; None for a model that is not downloaded."""
    text = model.removeprefix(SCHEME)
    path = Path(text).expanduser()
    if path.is_dir():
        return path.resolve()
    if path.is_file():
        refuse_pickle(path)
        raise BadModelFile(f"{path} is a file", path=str(path), hint=f"give its folder: {SCHEME}{path.parent}")
    named = hub_name(text)
    if named is None:
        raise ModelNotFound(f"no such folder: {path}", hint="hf: takes a folder with config.json, or OWNER/NAME")
    return _in_cache(*named)


def _in_cache(name: str, revision: str) -> Path | None:
    repository = cache_folder() / f"models--{name.replace('/', '--')}"
    try:
        commit = (repository / "refs" / revision).read_text().strip()
    except OSError:
        commit = revision
    folder = repository / "snapshots" / commit
    return folder if (folder / "config.json").is_file() else None


def refuse_pickle(path: Path) -> None:
    """Raises `BadModelFile` for a file in a format that runs code."""
    if path.suffix.lower() in PICKLES:
        raise BadModelFile(
            f"{path.name} is a pickle, which can run any code as it is read; only safetensors are",
            path=str(path),
            hint="have it converted where you trust it: `model.save_pretrained(FOLDER)` writes safetensors",
        )


def check_folder(folder: Path) -> Summary:
    """Checks the files of a model and returns its summary; raises `BadModelFile`."""
    config = read_json(folder / "config.json")
    tensors: list[tuple[str, int, int]] = []
    file_bytes = 0
    for file in _weight_files(folder):
        tensors += _tensors(file)
        file_bytes += file.stat().st_size
    return _summary(folder, config, tensors, file_bytes)


def read_json(path: Path) -> dict[str, Any]:
    """Returns the object of a JSON file of a model."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadModelFile(
            f"{path.parent} has no {path.name}", path=str(path), hint="a model's folder is made by `save_pretrained`"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadModelFile(f"{path} cannot be read: {error}", path=str(path)) from error
    if not isinstance(value, dict):
        raise BadModelFile(f"{path} holds no JSON object", path=str(path))
    return value


def _weight_files(folder: Path) -> list[Path]:
    if (folder / INDEX).is_file():
        parts = read_json(folder / INDEX).get("weight_map")
        if not isinstance(parts, dict) or not all(isinstance(name, str) for name in parts.values()):
            raise BadModelFile(f"{INDEX} has no weight_map", path=str(folder / INDEX))
        files = [folder / name for name in sorted(set(parts.values()))]
        for file in files:
            if file.parent != folder or file.suffix != ".safetensors":
                refuse_pickle(file)
                raise BadModelFile(f"{INDEX} names {file.name}, which is not of this model", path=str(folder / INDEX))
            if not file.is_file():
                raise BadModelFile(f"{file.name} is missing", path=str(file), hint="download the model again")
        return files
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    for file in sorted(folder.iterdir()):
        if file.name != "training_args.bin":
            refuse_pickle(file)
    raise BadModelFile(f"{folder} has no {SINGLE}", path=str(folder))


def _tensors(file: Path) -> Iterator[tuple[str, int, int]]:
    """Yields the type, the elements and the bytes of each tensor. A header that does not fit the file is refused."""

    def corrupt(why: str) -> BadModelFile:
        return BadModelFile(f"{file.name} is no safetensors file: {why}", path=str(file), hint="download it again")

    size = file.stat().st_size
    with file.open("rb") as data:
        length = int.from_bytes(data.read(8), "little")
        if size < 8 or length > min(_LONGEST_HEADER, size - 8):
            raise corrupt("its header is longer than the file")
        try:
            header = json.loads(data.read(length))
        except (ValueError, RecursionError):
            raise corrupt("its header is not JSON") from None
    if not isinstance(header, dict):
        raise corrupt("its header is no object")
    header.pop("__metadata__", None)
    end = 0
    for name, tensor in header.items():
        try:
            dtype, shape, (begins, ends) = str(tensor["dtype"]), tensor["shape"], tensor["data_offsets"]
            elements = _product(shape)
            fits = 0 <= begins <= ends and _BITS.get(dtype, 0) * elements in (0, 8 * (ends - begins))
        except (TypeError, KeyError, ValueError):
            raise corrupt(f"the entry of {name[:80]} cannot be read") from None
        if not fits:
            raise corrupt(f"the size of {name[:80]} is not that of its data")
        end = max(end, ends)
        yield dtype, elements, ends - begins
    if 8 + length + end != size:
        raise corrupt(f"it is {size} bytes long, and its header says {8 + length + end}")


def _product(shape: list[int]) -> int:
    product = 1
    for side in shape:
        if type(side) is not int or side < 0:
            raise ValueError
        product *= side
    return product


def _summary(folder: Path, config: Mapping[str, Any], tensors: list[tuple[str, int, int]], file_bytes: int) -> Summary:
    inner = config.get("text_config")  # models that also see pictures keep the writer's part here
    text: Mapping[str, Any] = inner if isinstance(inner, dict) else config

    def number(*names: str) -> int:
        for name in names:
            if isinstance(text.get(name), int):
                return int(text[name])
        return 0

    layers, embedding = number("num_hidden_layers", "n_layer", "num_layers"), number("hidden_size", "n_embd", "d_model")
    heads = number("num_attention_heads", "n_head", "num_heads")
    kv_heads = number("num_key_value_heads") or heads
    head = number("head_dim") or (embedding // heads if heads else 0)
    types = Counter[str]()
    for dtype, elements, _ in tensors:
        types[dtype] += elements
    quantization = types.most_common(1)[0][0] if types else ""
    return Summary(
        path=str(folder),
        name=folder.name,
        architecture=str(text.get("model_type") or config.get("model_type") or ""),
        parameters=sum(elements for _, elements, _ in tensors),
        file_bytes=file_bytes,
        quantization=quantization,
        context=number("max_position_embeddings", "n_positions", "n_ctx", "max_sequence_length", "seq_length"),
        layers=layers,
        embedding=embedding,
        heads=heads,
        vocabulary=number("vocab_size"),
        tokenizer=_tokenizer_name(folder),
        chat_template=template_of(folder),
        kv_bytes_per_token=2 * layers * kv_heads * head * _BITS.get(quantization, 16) // 8,
        pools=False,
    )


def _tokenizer_name(folder: Path) -> str:
    path = folder / "tokenizer_config.json"
    return str(read_json(path).get("tokenizer_class", "")) if path.is_file() else ""
