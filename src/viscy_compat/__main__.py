"""``python -m viscy_compat`` is ``viscy-compat``."""

import sys

from viscy_compat.cli import main

if __name__ == "__main__":
    sys.exit(main())
