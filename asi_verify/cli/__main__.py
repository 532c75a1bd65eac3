"""``python -m asi_verify.cli``, which is ``asi-verify``; see ``command``."""

import sys

from asi_verify.cli.command import main

sys.exit(main())
