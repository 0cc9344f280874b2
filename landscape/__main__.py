"""``python -m landscape`` is the command ``landscape``."""

import sys

from landscape.cli.main import main

sys.exit(main())
