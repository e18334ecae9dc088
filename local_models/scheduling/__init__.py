"""Scheduling: the order in which sequences are decoded, and their KV cells. Pure: no engine, no clock, no thread."""

from local_models.scheduling.plan import Copy, Keep, Row, ScheduledCall, SchedulerLimits, StepPlan
from local_models.scheduling.scheduler import QueueFull, Scheduler

__all__ = ["Copy", "Keep", "QueueFull", "Row", "ScheduledCall", "Scheduler", "SchedulerLimits", "StepPlan"]
