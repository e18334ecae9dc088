"""Encoding of a scripted turn in the wire format of each provider."""

from three_mode.testing.wire.limits import ResetFormat, overloaded, quota_exhausted, rate_limited
from three_mode.testing.wire.route import render, render_models

__all__ = ["ResetFormat", "overloaded", "quota_exhausted", "rate_limited", "render", "render_models"]
