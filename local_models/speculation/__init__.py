"""Speculation: tokens that are guessed, and found right or wrong in the same step as everybody else's tokens.

All but the draft model is pure: no engine, no clock, no thread. `Speculation` is what the engine uses.
"""

from local_models.speculation.choice import StepLayout
from local_models.speculation.speculation import Speculation

__all__ = ["Speculation", "StepLayout"]
