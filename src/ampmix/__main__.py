"""``python -m ampmix``."""

import sys

from ampmix.cli import main

if __name__ == "__main__":
    sys.exit(main())
