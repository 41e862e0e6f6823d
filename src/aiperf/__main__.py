"""`python -m aiperf`."""

import sys

from aiperf.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
