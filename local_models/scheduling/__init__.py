"""Scheduling: the order in which sequences are decoded, and their KV cells. Pure: no engine, no clock, no thread."""

from local_models.scheduling.scheduler import (
    Copy,
    Keep,
    QueueFull,
    Row,
    ScheduledCall,
    Scheduler,
    SchedulerLimits,
    StepPlan,
)

__all__ = ["Copy", "Keep", "QueueFull", "Row", "ScheduledCall", "Scheduler", "SchedulerLimits", "StepPlan"]
