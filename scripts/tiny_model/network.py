"""Network of the tiny model in JAX: a Llama as llama.cpp runs it (RMSNorm, rotary pairs, grouped heads, SwiGLU)."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Weights = dict[str, Any]


@dataclass(frozen=True)
class Shape:
    """Sizes of the network."""

    vocabulary: int
    width: int = 128
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    hidden: int = 384
    epsilon: float = 1e-5
    rope_base: float = 10000.0

    @property
    def head_width(self) -> int:
        return self.width // self.heads


def initial(shape: Shape, seed: int) -> Weights:
    """Returns random weights to start from."""
    keys = iter(jax.random.split(jax.random.PRNGKey(seed), 8 * shape.layers + 2))

    def matrix(rows: int, columns: int, scale: float = 1.0) -> jax.Array:  # [out, in], as GGUF stores it
        return jax.random.normal(next(keys), (rows, columns)) * scale * columns**-0.5

    kv_width = shape.kv_heads * shape.head_width
    small = (
        2 * shape.layers
    ) ** -0.5  # additions to the residual stream start small, so that depth does not blow it up
    weights: Weights = {
        "token_embd": jax.random.normal(next(keys), (shape.vocabulary, shape.width)) * 0.02,
        "output": matrix(shape.vocabulary, shape.width),
        "output_norm": jnp.ones(shape.width),
    }
    for layer in range(shape.layers):
        weights |= {
            f"blk.{layer}.attn_norm": jnp.ones(shape.width),
            f"blk.{layer}.attn_q": matrix(shape.width, shape.width),
            f"blk.{layer}.attn_k": matrix(kv_width, shape.width),
            f"blk.{layer}.attn_v": matrix(kv_width, shape.width),
            f"blk.{layer}.attn_output": matrix(shape.width, shape.width, small),
            f"blk.{layer}.ffn_norm": jnp.ones(shape.width),
            f"blk.{layer}.ffn_gate": matrix(shape.hidden, shape.width),
            f"blk.{layer}.ffn_up": matrix(shape.hidden, shape.width),
            f"blk.{layer}.ffn_down": matrix(shape.width, shape.hidden, small),
        }
    return weights


def norm(x: jax.Array, weight: jax.Array, epsilon: float) -> jax.Array:
    """Returns the RMS norm."""
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + epsilon) * weight


def rotate(x: jax.Array, places: jax.Array, base: float) -> jax.Array:
    """Applies rotary positions to neighbouring pairs: x is [batch, time, heads, width], places [batch or 1, time]."""
    width = x.shape[3]
    angle = places[:, :, None] * base ** (-(jnp.arange(width) // 2 * 2) / width)
    cos, sin = jnp.cos(angle)[:, :, None], jnp.sin(angle)[:, :, None]
    # Each pair (a, b) becomes (-b, a); a matrix product is faster than strides.
    turned = np.zeros((width, width), np.float32)
    pairs = np.arange(0, width, 2)
    turned[pairs + 1, pairs], turned[pairs, pairs + 1] = -1, 1
    return x * cos + (x @ turned) * sin


def attended(shape: Shape, q: jax.Array, k: jax.Array, value: jax.Array, bias: jax.Array) -> jax.Array:
    """Computes softmax attention as products of stacked matrices, much faster on a CPU than a general contraction."""
    (batch, asking, _, width), time, kv = q.shape, k.shape[1], shape.kv_heads
    groups = shape.heads // kv
    q = q.reshape(batch, asking, kv, groups, width).transpose(0, 2, 3, 1, 4)
    k, value = k.transpose(0, 2, 3, 1), value.transpose(0, 2, 1, 3)
    scores = q.reshape(batch, kv, groups * asking, width) @ k * width**-0.5
    scores = scores.reshape(batch, kv, groups, asking, time) + bias
    parts = jnp.exp(scores - jax.lax.stop_gradient(jnp.max(scores, axis=-1, keepdims=True)))
    whole = jnp.sum(parts, axis=-1, keepdims=True)
    mixed = parts.reshape(batch, kv, groups * asking, time) @ value
    mixed = mixed.reshape(batch, kv, groups, asking, width) / whole
    return mixed.transpose(0, 3, 1, 2, 4).reshape(batch, asking, shape.width)


def logits(
    shape: Shape, weights: Weights, tokens: jax.Array, segments: jax.Array, wanted: jax.Array | None = None
) -> jax.Array:
    """Returns the scores of next tokens; a token sees only earlier tokens of its conversation (segment).

    With `wanted` (places in each row) it returns the scores of those places, and the last layer leaves out the rest.
    """
    time = tokens.shape[1]
    seen = (segments[:, :, None] == segments[:, None, :]) & jnp.tril(jnp.ones((time, time), bool))[None]
    bias = jnp.where(seen, 0.0, -1e9)[:, None, None]
    places = jnp.arange(time)[None]
    x = weights["token_embd"][tokens]
    for layer in range(shape.layers):
        name = f"blk.{layer}"
        asking, all_places = x, places
        h = norm(x, weights[f"{name}.attn_norm"], shape.epsilon)
        if wanted is not None and layer == shape.layers - 1:
            asking, places = jnp.take_along_axis(x, wanted[..., None], axis=1), wanted
            bias = jnp.take_along_axis(bias, wanted[:, None, None, :, None], axis=3)
        asked = h if asking is x else norm(asking, weights[f"{name}.attn_norm"], shape.epsilon)
        q = (asked @ weights[f"{name}.attn_q"].T).reshape(*asked.shape[:2], shape.heads, -1)
        k = (h @ weights[f"{name}.attn_k"].T).reshape(*h.shape[:2], shape.kv_heads, -1)
        value = (h @ weights[f"{name}.attn_v"].T).reshape(k.shape)
        q, k = rotate(q, places, shape.rope_base), rotate(k, all_places, shape.rope_base)
        x = asking + attended(shape, q, k, value, bias) @ weights[f"{name}.attn_output"].T
        h = norm(x, weights[f"{name}.ffn_norm"], shape.epsilon)
        gate = jax.nn.silu(h @ weights[f"{name}.ffn_gate"].T) * (h @ weights[f"{name}.ffn_up"].T)
        x = x + gate @ weights[f"{name}.ffn_down"].T
    return norm(x, weights["output_norm"], shape.epsilon) @ weights["output"].T
