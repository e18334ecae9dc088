"""Checks of this machine: each feature that three-mode uses is tried once."""

from three_mode.doctor.check import Check, Status
from three_mode.doctor.checkup import checkup

__all__ = ["Check", "Status", "checkup"]
