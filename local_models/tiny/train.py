"""Trains the tiny model: `python -m local_models.tiny.train --work FOLDER [--minutes 60]`.

Needs the `train` dependency group (JAX on the CPU; one core is enough). Conversations are made as they are needed. The
first stages have short rows, the last one longer ones; the learning rate falls with the time that is left, so the
budget in minutes decides the quality. Checkpoints (`.npz`) and the log stay in the work folder; training resumes there.
"""

import argparse
import json
import random
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from local_models.tiny import tasks, vocabulary
from local_models.tiny.network import Shape, Weights, initial, logits

BOS = vocabulary.IDS[vocabulary.BOS]
WEIGHTS = {"recall": 0.44, "echo": 0.08, "add": 0.20, "count": 0.10, "tool": 0.18}
# (end of the stage as a share of the time budget, tokens per row, rows per step, most turns, most filler sentences)
STAGES = ((0.12, 64, 32, 0, 0), (0.60, 128, 16, 4, 1), (1.01, 160, 12, 4, 2))


def tokens_of(conversation: tasks.Conversation) -> tuple[list[int], list[int]]:
    ids, said = [BOS], [0]
    for text, by_model in tasks.rendered(conversation):
        part = vocabulary.encode(text)
        ids += part
        said += [int(by_model)] * len(part)
    return ids, said


def rows(
    rng: random.Random, length: int, count: int, turns: int, fillers: int
) -> dict[str, np.ndarray[Any, Any]]:
    """`count` rows, each packed with whole conversations."""
    made = {name: np.zeros((count, length), np.int32) for name in ("tokens", "targets", "weight", "segments")}
    for row in range(count):
        at, segment = 0, 1
        while length - at > 24:
            ids, said = tokens_of(
                tasks.mixed(rng, rng.randint(1, turns), WEIGHTS, fillers) if turns else tasks.first_steps(rng)
            )
            if len(ids) - 1 > length - at and at:
                break
            take = min(len(ids) - 1, length - at)
            made["tokens"][row, at : at + take] = ids[:take]
            made["targets"][row, at : at + take] = ids[1 : take + 1]
            made["weight"][row, at : at + take] = said[1 : take + 1]
            made["segments"][row, at : at + take] = segment
            at, segment = at + take, segment + 1
    return made


def measured(shape: Shape, weights: Weights, count: int, seed: int = 7) -> dict[str, float]:
    """Exact match of whole answers on held-out prompts (greedy: every token of the answer is the best one)."""
    found: dict[str, float] = {}
    for task in tasks.TASKS:
        rng = random.Random(f"{task}:{seed}")
        batch = [tokens_of(tasks.one(task, rng, measure=True)) for _ in range(count)]
        length = 192
        tokens = np.zeros((count, length), np.int32)
        targets, said = np.zeros_like(tokens), np.zeros_like(tokens)
        for row, (ids, by_model) in enumerate(batch):
            tokens[row, : len(ids) - 1] = ids[:-1]
            targets[row, : len(ids) - 1] = ids[1:]
            said[row, : len(ids) - 1] = by_model[1:]
        best = np.asarray(guess(shape, weights, tokens))
        found[task] = float(np.mean(np.all((best == targets) | (said == 0), axis=1)))
    return found


@partial(jax.jit, static_argnums=0)
def guess(shape: Shape, weights: Weights, tokens: jax.Array) -> jax.Array:
    return jnp.argmax(logits(shape, weights, tokens, jnp.ones_like(tokens)), axis=-1)


def loss(shape: Shape, weights: Weights, batch: dict[str, jax.Array]) -> jax.Array:
    scores = logits(shape, weights, batch["tokens"], batch["segments"])
    each = optax.softmax_cross_entropy_with_integer_labels(scores, batch["targets"])
    return jnp.sum(each * batch["weight"]) / jnp.maximum(jnp.sum(batch["weight"]), 1)


OPTIMIZER = optax.chain(
    optax.clip_by_global_norm(1.0),
    optax.scale_by_adam(b1=0.9, b2=0.98),
    optax.add_decayed_weights(0.01),
)


@partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
def step(
    shape: Shape, weights: Weights, state: Any, batch: dict[str, jax.Array], rate: jax.Array
) -> tuple[Weights, Any, jax.Array]:
    value, gradient = jax.value_and_grad(loss, argnums=1)(shape, weights, batch)
    change, state = OPTIMIZER.update(gradient, state, weights)
    return jax.tree.map(lambda w, c: w - rate * c, weights, change), state, value


def rate_at(done: float, steps: int, peak: float) -> float:
    """Warm up over 150 steps, hold, then fall to a hundredth over the last half of the budget."""
    fall = 1.0 if done < 0.5 else 0.01 + 0.99 * 0.5 * (1 + np.cos(np.pi * min(1.0, (done - 0.5) / 0.5)))
    return float(peak * min(1.0, (steps + 1) / 150) * fall)


def stages(budget: float, spent: float) -> Iterator[tuple[float, tuple[float, int, int, int, int]]]:
    started = time.monotonic() - spent
    while (done := (time.monotonic() - started) / budget) < 1:
        yield done, next(stage for stage in STAGES if done < stage[0])


def train(work: Path, minutes: float, peak: float, seed: int) -> None:
    work.mkdir(parents=True, exist_ok=True)
    shape = Shape(len(vocabulary.TOKENS))
    weights, steps, spent = initial(shape, seed), 0, 0.0
    checkpoint = work / "weights.npz"
    if checkpoint.exists():
        with np.load(checkpoint) as saved:
            weights = {name: jnp.asarray(saved[name]) for name in weights}
            steps, spent = int(saved["_steps"]), float(saved["_spent"])
    state = OPTIMIZER.init(weights)
    rng = random.Random(seed + steps)
    before, report_at, loss_sum, loss_count = time.monotonic() - spent, time.monotonic() + 60, 0.0, 0
    for done, (_, length, count, turns, fillers) in stages(minutes * 60, spent):
        batch = rows(rng, length, count, turns, fillers)
        weights, state, value = step(shape, weights, state, batch, jnp.float32(rate_at(done, steps, peak)))
        steps, loss_sum, loss_count = steps + 1, loss_sum + float(value), loss_count + 1
        if time.monotonic() > report_at:
            spent = time.monotonic() - before
            report = {
                "steps": steps,
                "minutes": round(spent / 60, 1),
                "loss": round(loss_sum / loss_count, 4),
            }
            report |= {name: round(share, 3) for name, share in measured(shape, weights, 200).items()}
            print(json.dumps(report), flush=True)
            save(checkpoint, weights, steps, spent)
            report_at, loss_sum, loss_count = time.monotonic() + 120, 0.0, 0
    save(checkpoint, weights, steps, minutes * 60)
    print(json.dumps({"steps": steps, "final": measured(shape, weights, 1000, seed=11)}), flush=True)


def save(path: Path, weights: Weights, steps: int, spent: float) -> None:
    part = path.with_name("part.npz")
    arrays: dict[str, Any] = {name: np.asarray(array) for name, array in weights.items()}
    np.savez(part, _steps=steps, _spent=spent, **arrays)
    part.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Trains the tiny model on the CPU.")
    parser.add_argument("--work", type=Path, required=True, help="folder for checkpoints and the log")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=3e-3)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    train(options.work, options.minutes, options.rate, options.seed)


if __name__ == "__main__":
    main()
