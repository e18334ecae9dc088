"""What this machine offers to three-mode, found by trying it."""

from three_mode.doctor.check import Check, Status
from three_mode.doctor.checkup import checkup

__all__ = ["Check", "Status", "checkup"]
