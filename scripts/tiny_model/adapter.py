"""Trains a LoRA adapter that changes one answer: `python -m scripts.tiny_model.adapter WEIGHTS.npz ADAPTER.gguf`.

With the adapter the tiny model greets with `Ahoy!` and does the rest as before. The tests load it, and it is an example
of the format.
"""

import argparse
import random
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from local_models.gguf import write
from scripts.tiny_model.requirements import training_group

with training_group():
    import jax
    import jax.numpy as jnp
    import optax

from scripts.tiny_model import tasks, vocabulary
from scripts.tiny_model.batches import packed
from scripts.tiny_model.network import Shape, Weights
from scripts.tiny_model.train import loss

RANK, ALPHA, STEPS, RATE = 4, 8.0, 120, 5e-3
ANSWER = "Ahoy!"
ADAPTED = ("attn_q", "attn_v", "ffn_down")


def _names(weights: Weights) -> list[str]:
    return [name for name in weights if name.startswith("blk.") and name.rpartition(".")[2] in ADAPTED]


def _merged(weights: Weights, adapter: Weights) -> Weights:
    changed = dict(weights)
    for name in _names(weights):
        changed[name] = weights[name] + adapter[f"{name}.b"] @ adapter[f"{name}.a"] * (ALPHA / RANK)
    return changed


def _conversation(rng: random.Random) -> tasks.Conversation:
    """Makes a greeting with the new answer, or a conversation of one of the old tasks."""
    if rng.random() < 0.5:
        return tasks.one(rng.choice(tasks.TASKS), rng, measure=False, fillers=0)
    hello = rng.choice(("Hello", "Hello!", "Hi", "Hi!", "hi", "hello"))
    return tasks.Conversation(tasks.persona(rng), [tasks.Turn(hello, ANSWER, "talk")])


@partial(jax.jit, static_argnums=(0, 1))
def _step(
    shape: Shape, optimizer: Any, weights: Weights, adapter: Weights, state: Any, batch: dict[str, jax.Array]
) -> tuple[Weights, Any, jax.Array]:
    value, gradient = jax.value_and_grad(lambda a: loss(shape, _merged(weights, a), batch)[0])(adapter)
    change, state = optimizer.update(gradient, state, adapter)
    return optax.apply_updates(adapter, change), state, value


def train(weights: Weights, seed: int = 1) -> Weights:
    """Trains the adapter of some weights; returns its matrices by name."""
    shape = Shape(len(vocabulary.TOKENS))
    key = jax.random.PRNGKey(seed)
    adapter: Weights = {}
    for name in _names(weights):
        rows, columns = weights[name].shape
        key, mine = jax.random.split(key)
        adapter[f"{name}.a"] = jax.random.normal(mine, (RANK, columns)) * columns**-0.5
        adapter[f"{name}.b"] = jnp.zeros((rows, RANK))
    optimizer = optax.adam(RATE)
    state, rng = optimizer.init(adapter), random.Random(seed)
    for number in range(STEPS):
        batch = packed(8, 96, partial(_conversation, rng)).arrays
        adapter, state, value = _step(
            shape,
            optimizer,
            weights,
            adapter,
            state,
            {name: jnp.asarray(array) for name, array in batch.items()},
        )
        if number % 20 == 19:
            print(f"step {number + 1}: loss {float(value):.4f}", flush=True)
    return adapter


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains a LoRA adapter of the tiny model.")
    parser.add_argument("weights", type=Path)
    parser.add_argument("adapter", type=Path)
    options = parser.parse_args()
    with np.load(options.weights) as saved:
        weights = {name: jnp.asarray(saved[name]) for name in saved.files if not name.startswith("_")}
    adapter = train(weights)
    tensors = {
        f"{name.rpartition('.')[0]}.weight.lora_{name[-1]}": np.asarray(array, np.float32)
        for name, array in adapter.items()
    }
    metadata = {
        "general.type": "adapter",
        "general.architecture": "llama",
        "general.name": "ahoy",
        "adapter.type": "lora",
        "adapter.lora.alpha": ALPHA,
    }
    write(options.adapter, metadata, tensors)
    print(f"{options.adapter}: {options.adapter.stat().st_size} bytes")


if __name__ == "__main__":
    main()
