"""The bus: processes of one machine (or a few) that publish, send and ask each other at the speed of memory."""

from transports.bus.errors import (
    BadAddress as BadAddress,
)
