"""Trains the tiny model from nothing to the GGUF file that is shipped: `python -m scripts.tiny_model.train`.

It needs the `train` dependency group (JAX on the CPU), one core and about 20 minutes. At the end it measures the model
through the real engine, and replaces the model of the package only if every task is at its gate. Conversations are made
from the seed and the number of the step. Checkpoints are in the work folder; the same command resumes from there.
"""

import argparse
import asyncio
import hashlib
import json
import os
import random
import shutil
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import numpy as np

from local_models.files import TINY
from scripts.tiny_model.requirements import training_group

with training_group():
    import jax
    import jax.numpy as jnp

from scripts.tiny_model import muon, tasks, vocabulary
from scripts.tiny_model.batches import packed, right
from scripts.tiny_model.export import export
from scripts.tiny_model.measure import GATE, measure
from scripts.tiny_model.network import Shape, Weights, initial, logits
from scripts.tiny_model.shares import Errors


@dataclass(frozen=True)
class Stage:
    """Contents of the rows in a part of the training."""

    until: int  # the step at which it ends
    length: int  # tokens per row
    rows: int
    turns: int  # most turns of a conversation; 0: only short texts to copy
    fillers: int  # most sentences that state nothing
    small: float = 0.0  # part of the numbers to add that has one digit
    long: float = 0.0  # part of the counts that goes past ten
    least: float = 0.05  # least error of a task, for `Errors.shares`

    def conversation(self, rng: random.Random, shares: dict[str, float]) -> tasks.Conversation:
        """Makes a conversation of this stage."""
        return (
            tasks.mixed(rng, self.turns, shares, self.fillers, self.small, self.long)
            if self.turns
            else tasks.first_steps(rng)
        )


STEPS = 3900
STAGES = (
    Stage(315, 64, 32, 0, 0),
    Stage(2000, 128, 16, 2, 1),
    Stage(3000, 160, 12, 4, 2, small=0.15),
    Stage(STEPS, 160, 12, 4, 2, small=0.15, long=0.25, least=0.003),  # rare errors
)
# Learning rate of Muon at these steps, with straight lines between them. The fall to zero makes the answers exact.
RATES = (
    (0, 1 / 6000),
    (59, 0.01),
    (800, 0.01),
    (1800, 0.006),
    (2000, 0.00537),
    (2800, 0.00179),
    (3000, 0.00128),
    (3400, 0.0012),
    (STEPS, 0.0),
)
REPORT = 100  # steps between two reports


def tokens_loss(scores: jax.Array, targets: jax.Array, weight: jax.Array) -> jax.Array:
    """Returns the weighted mean of the cross entropy."""
    right_one = jnp.take_along_axis(scores, targets[..., None], axis=-1)[..., 0]
    return jnp.sum((jax.nn.logsumexp(scores, axis=-1) - right_one) * weight) / jnp.maximum(jnp.sum(weight), 1e-6)


def loss(shape: Shape, weights: Weights, batch: dict[str, jax.Array]) -> tuple[jax.Array, jax.Array]:
    """Returns the loss, and the places where the best token is right."""
    scores = logits(shape, weights, batch["tokens"], batch["segments"], batch["wanted"])
    return tokens_loss(scores, batch["targets"], batch["weight"]), jnp.argmax(scores, -1) == batch["targets"]


@partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
def step(
    shape: Shape, weights: Weights, state: Any, batch: dict[str, jax.Array], rate: jax.Array
) -> tuple[Weights, Any, jax.Array, jax.Array]:
    """Returns weights and state after one step, the loss, and the places that were right."""
    (value, correct), gradient = jax.value_and_grad(loss, argnums=1, has_aux=True)(shape, weights, batch)
    return *muon.change(weights, state, gradient, rate), value, correct


def rate_at(at: int) -> float:
    """Returns the learning rate of a step."""
    steps, rates = zip(*RATES, strict=True)
    return float(np.interp(at, np.asarray(steps), np.asarray(rates)))


def train(work: Path, seed: int) -> Weights:
    """Trains from the checkpoint in the work folder, or from random weights."""
    work.mkdir(parents=True, exist_ok=True)
    shape = Shape(len(vocabulary.TOKENS))
    weights = initial(shape, seed)
    state, errors, begun = muon.initial_state(weights), Errors(), 0
    checkpoint = work / "checkpoint.npz"
    if checkpoint.exists():
        with np.load(checkpoint) as saved:
            weights = {name: jnp.asarray(saved[name]) for name in weights}
            state = {name: jnp.asarray(saved[f"state.{name}"]) for name in state}
            begun, errors = int(saved["at"]), Errors(json.loads(str(saved["errors"])))
    summed = 0.0
    for at in range(begun, STEPS):
        stage = next(stage for stage in STAGES if at < stage.until)
        make = partial(stage.conversation, random.Random(f"{seed} {at}"), errors.shares(stage.least))
        batch = packed(stage.rows, stage.length, make)
        arrays = {name: jnp.asarray(array) for name, array in batch.arrays.items()}
        weights, state, value, correct = step(shape, weights, state, arrays, jnp.float32(rate_at(at)))
        errors.add(right(batch, np.asarray(correct)))
        summed += float(value)
        if (at + 1) % REPORT == 0:
            report = {"steps": at + 1, "loss": round(summed / REPORT, 4)}
            print(json.dumps(report | {task: round(1 - e, 3) for task, e in errors.of.items()}), flush=True)
            save(checkpoint, weights, state, at + 1, errors)
            summed = 0.0
    return weights


def save(path: Path, weights: Weights, state: dict[str, Any], at: int, errors: Errors) -> None:
    """Writes a checkpoint, whole or not at all."""
    part = path.with_name("part.npz")
    arrays = {name: np.asarray(array) for name, array in weights.items()}
    arrays |= {f"state.{name}": np.asarray(array) for name, array in state.items()}
    arrays |= {"at": np.asarray(at), "errors": np.asarray(json.dumps(errors.of))}
    np.savez(part, **arrays)  # type: ignore[arg-type]
    part.replace(path)


def main() -> int:
    parser = argparse.ArgumentParser(description="Trains the tiny model on the CPU, and measures it.")
    parser.add_argument("--work", type=Path, default=Path("build/tiny"), help="folder for checkpoints")
    parser.add_argument(
        "--model",
        type=Path,
        default=TINY,
        help="file that the new model replaces if every task is at its gate (default: the file of the package)",
    )
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    weights = {name: np.asarray(array) for name, array in train(options.work, options.seed).items()}
    np.savez(options.work / "weights.npz", **weights)  # type: ignore[arg-type]
    made = options.work / "tiny.gguf"
    export(weights, made)
    result = asyncio.run(measure(made, hashlib.sha256(made.read_bytes()).hexdigest()))
    made.with_suffix(".json").write_text(json.dumps(result, indent=1) + "\n")
    if min(result["exact_match"].values()) < GATE:
        print(f"below {GATE} on a task: {made} is not put in the place of {options.model}")
        return 1
    shutil.copy(made, options.model)
    shutil.copy(made.with_suffix(".json"), options.model.with_suffix(".json"))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
