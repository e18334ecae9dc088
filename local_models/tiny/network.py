"""The tiny model's network in JAX: a Llama (RMSNorm, rotary positions in pairs, grouped heads, SwiGLU), as llama.cpp runs it."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

Weights = dict[str, Any]


@dataclass(frozen=True)
class Shape:
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
    keys = iter(jax.random.split(jax.random.PRNGKey(seed), 8 * shape.layers + 2))

    def matrix(rows: int, columns: int, scale: float = 1.0) -> jax.Array:  # [out, in], as GGUF stores it
        return jax.random.normal(next(keys), (rows, columns)) * scale * columns**-0.5

    kv_width = shape.kv_heads * shape.head_width
    small = (
        2 * shape.layers
    ) ** -0.5  # what is added to the stream starts small, so that depth does not blow it up
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
    return x * jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + epsilon) * weight


def rotate(x: jax.Array, base: float) -> jax.Array:
    """Rotary positions over neighbouring pairs: [batch, time, heads, head width]."""
    time, width = x.shape[1], x.shape[3]
    angle = jnp.arange(time)[:, None] * base ** (-jnp.arange(0, width, 2) / width)[None, :]
    cos, sin = jnp.cos(angle)[None, :, None, :], jnp.sin(angle)[None, :, None, :]
    even, odd = x[..., 0::2], x[..., 1::2]
    return jnp.stack([even * cos - odd * sin, even * sin + odd * cos], axis=-1).reshape(x.shape)


def logits(shape: Shape, weights: Weights, tokens: jax.Array, segments: jax.Array) -> jax.Array:
    """Next-token scores; a token sees earlier tokens of its own conversation (segment) only."""
    batch, time = tokens.shape
    seen = (segments[:, :, None] == segments[:, None, :]) & jnp.tril(jnp.ones((time, time), bool))[None]
    bias = jnp.where(seen, 0.0, -1e9)[:, None, None]
    groups = shape.heads // shape.kv_heads
    x = weights["token_embd"][tokens]
    for layer in range(shape.layers):
        name = f"blk.{layer}"
        h = norm(x, weights[f"{name}.attn_norm"], shape.epsilon)
        q = rotate((h @ weights[f"{name}.attn_q"].T).reshape(batch, time, shape.heads, -1), shape.rope_base)
        k = rotate(
            (h @ weights[f"{name}.attn_k"].T).reshape(batch, time, shape.kv_heads, -1), shape.rope_base
        )
        value = (h @ weights[f"{name}.attn_v"].T).reshape(batch, time, shape.kv_heads, -1)
        q = q.reshape(batch, time, shape.kv_heads, groups, -1)
        scores = jnp.einsum("btkgd,bskd->bkgts", q, k) * shape.head_width**-0.5 + bias
        mixed = jnp.einsum("bkgts,bskd->btkgd", jax.nn.softmax(scores, axis=-1), value)
        x = x + mixed.reshape(batch, time, shape.width) @ weights[f"{name}.attn_output"].T
        h = norm(x, weights[f"{name}.ffn_norm"], shape.epsilon)
        gate = jax.nn.silu(h @ weights[f"{name}.ffn_gate"].T) * (h @ weights[f"{name}.ffn_up"].T)
        x = x + gate @ weights[f"{name}.ffn_down"].T
    return norm(x, weights["output_norm"], shape.epsilon) @ weights["output"].T
