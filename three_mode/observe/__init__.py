"""What can be seen of calls: logs, metrics, reports, records, spans. Each name is imported when it is first used."""

import warnings
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from three_mode.observe.agent_spans import AgentTracer as AgentTracer
    from three_mode.observe.call_figures import AttemptFailure as AttemptFailure
    from three_mode.observe.call_figures import AttemptUse as AttemptUse
    from three_mode.observe.call_figures import CallFigures as CallFigures
    from three_mode.observe.call_figures import CallRecord as CallRecord
    from three_mode.observe.logs import JSONFormatter as JSONFormatter
    from three_mode.observe.metrics import Metrics as Metrics
    from three_mode.observe.metrics import PerformanceCheck as PerformanceCheck
    from three_mode.observe.metrics import Snapshot as Snapshot
    from three_mode.observe.record_files import report_of_records as report_of_records
    from three_mode.observe.records import RecordOptions as RecordOptions
    from three_mode.observe.records import RecordWriter as RecordWriter
    from three_mode.observe.report import Breakdown as Breakdown
    from three_mode.observe.report import CallSums as CallSums
    from three_mode.observe.report import Dimension as Dimension
    from three_mode.observe.report import Percentiles as Percentiles
    from three_mode.observe.report import Report as Report

_HOME = {
    "AgentTracer": "agent_spans",
    "AttemptFailure": "call_figures",
    "AttemptUse": "call_figures",
    "Breakdown": "report",
    "CallFigures": "call_figures",
    "CallRecord": "call_figures",
    "CallSums": "report",
    "Dimension": "report",
    "JSONFormatter": "logs",
    "Metrics": "metrics",
    "Percentiles": "report",
    "PerformanceCheck": "metrics",
    "RecordOptions": "records",
    "RecordWriter": "records",
    "Report": "report",
    "Snapshot": "metrics",
    "report_of_records": "record_files",
}

__all__ = list(_HOME)


def __getattr__(name: str) -> object:
    home = _HOME.get(name)
    if name == "Recorder":
        warnings.warn("three_mode.observe.Recorder is now RecordWriter", DeprecationWarning, stacklevel=2)
        return import_module("three_mode.observe.records").RecordWriter
    if home is None:
        raise AttributeError(f"module 'three_mode.observe' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"three_mode.observe.{home}"), name)
    return value
