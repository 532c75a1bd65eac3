"""Run the checker's command in a process of its own, with little memory and not for long."""

from __future__ import annotations

import resource
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

MEMORY = 3 << 30
"""Bytes of address space: numpy and onnx alone reserve more than one of these gigabytes."""

SECONDS = 100
"""For what takes a few seconds on an idle machine."""


@dataclass(frozen=True)
class Ended:
    """How the command ended."""

    code: int
    out: str
    error: str

    @property
    def refused(self) -> bool:
        """Whether it refused in words: no traceback, one line, nothing accepted."""
        lines = (self.out + self.error).splitlines()
        return (
            self.code in (1, 2)
            and len(lines) == 1
            and '"status": null' in lines[0] + ('"status": null' if self.code == 2 else "")
        )


def command(folder: Path, data: Path) -> Ended:
    """``python -m asi_verify.checker FOLDER --data FILE``, confined."""

    def confine() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))

    done = subprocess.run(
        [sys.executable, "-m", "asi_verify.checker", str(folder), "--data", str(data)],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        preexec_fn=confine,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)
