"""Child process as a stream of lines; the lines are not interpreted."""

from transports.process.child import ChildFailed, ChildLines, ChildOptions, StderrTail

__all__ = ["ChildFailed", "ChildLines", "ChildOptions", "StderrTail"]
