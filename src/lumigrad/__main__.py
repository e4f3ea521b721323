"""Makes `python -m lumigrad` the command `lumigrad`."""

from __future__ import annotations

import sys

from lumigrad.cli import main

if __name__ == "__main__":
    sys.exit(main())
