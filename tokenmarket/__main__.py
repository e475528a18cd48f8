"""``python -m tokenmarket`` is the same as ``tokenmarket``."""

from __future__ import annotations

import sys

from tokenmarket.cli import main

if __name__ == "__main__":
    sys.exit(main())
