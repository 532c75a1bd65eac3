"""The command ``asi-verify``: parses, calls public functions, prints, chooses the exit code.

A command stands in the file of its name.
"""

from asi_verify.cli.command import app, main

__all__ = ["app", "main"]
