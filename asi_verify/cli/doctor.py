"""``asi-verify doctor``: tries every component on this machine."""

from __future__ import annotations

import typer

from asi_verify.cli.exit_codes import OPEN
from asi_verify.cli.options import JsonOption
from asi_verify.cli.printing import console, print_json

__all__ = ["doctor"]


def doctor(as_json: JsonOption = False) -> None:
    """Try every component on this machine, and say what is missing."""
    from asi_verify._doctor import examine_installation

    findings = examine_installation()
    if as_json:
        print_json({"findings": [vars(finding) for finding in findings]})
    else:
        for finding in findings:
            mark = "ok  " if finding.works else ("FAIL" if finding.needed else "-   ")
            console.print(f"{mark} {finding.name}: {finding.detail}")
    raise typer.Exit(OPEN if any(f.needed and not f.works for f in findings) else 0)
