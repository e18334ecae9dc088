"""Entry point of `python -m three_mode.cli`, for when the script is not on the path."""

import sys

from three_mode.cli import main

sys.exit(main())
