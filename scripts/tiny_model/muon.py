"""Optimizer: Muon (orthogonalised momentum) for matrices, Adam for vectors and tables of tokens.

Muon makes the singular values of a matrix's momentum about one, so that rare directions (one of nine kinds of fact,
say) are learned as fast as frequent ones. It needs about half of Adam's steps for this model.
"""

from typing import Any

import jax
import jax.numpy as jnp

Tree = dict[str, Any]
MOMENTUM, DECAY = 0.95, 0.02
FIRST, SECOND, TINY = 0.9, 0.98, 1e-8
ADAM_SHARE = 0.3  # Adam's rate as a share of Muon's
QUINTIC = (3.4445, -4.7750, 2.0315)  # coefficients of the Newton-Schulz iteration


def by_muon(name: str) -> bool:
    """Whether Muon changes a weight, by its name."""
    return name.startswith("blk.") and not name.endswith("_norm")


def initial_state(weights: Tree) -> Tree:
    """Returns the state before the first step."""
    state: Tree = {"steps": jnp.zeros((), jnp.int32)}
    for name, weight in weights.items():
        state[f"{name}.mean"] = jnp.zeros_like(weight)
        if not by_muon(name):
            state[f"{name}.square"] = jnp.zeros_like(weight)
    return state


def orthogonal(matrix: jax.Array) -> jax.Array:
    """Returns the matrix with all its singular values near one."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = x / (jnp.linalg.norm(x) + 1e-7)
    a, b, c = QUINTIC
    for _ in range(5):
        square = x @ x.T
        x = a * x + (b * square + c * square @ square) @ x
    return x.T if tall else x


def change(weights: Tree, state: Tree, gradient: Tree, rate: jax.Array) -> tuple[Tree, Tree]:
    """Returns the weights and the state after one step."""
    norm = jnp.sqrt(sum(jnp.sum(g * g) for g in gradient.values()))
    clip = jnp.minimum(1.0, 1.0 / (norm + 1e-6))
    steps = state["steps"] + 1
    after: Tree = {}
    kept: Tree = {"steps": steps}
    for name, weight in weights.items():
        g = gradient[name] * clip
        if by_muon(name):
            mean = MOMENTUM * state[f"{name}.mean"] + g
            rows, columns = weight.shape
            move = orthogonal(g + MOMENTUM * mean) * max(1.0, rows / columns) ** 0.5
            after[name] = weight - rate * (move + DECAY * weight)
        else:
            mean = FIRST * state[f"{name}.mean"] + (1 - FIRST) * g
            square = SECOND * state[f"{name}.square"] + (1 - SECOND) * g * g
            kept[f"{name}.square"] = square
            move = (mean / (1 - FIRST**steps)) / (jnp.sqrt(square / (1 - SECOND**steps)) + TINY)
            after[name] = weight - rate * ADAM_SHARE * move
        kept[f"{name}.mean"] = mean
    return after, kept
