"""``python -m asi_verify.checker FOLDER --data FILE.npz``; see ``command``."""

import sys

from asi_verify.checker.command import main

sys.exit(main())
