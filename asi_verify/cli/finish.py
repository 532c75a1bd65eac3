"""How ``run``, ``correct`` and ``certify`` end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from asi_verify.cli.exit_codes import OPEN
from asi_verify.cli.printing import console, print_json

__all__ = ["finish"]


def finish(
    result: Any,
    dataset: str,
    out: Path,
    data_root: Path | None,
    no_images: bool,
    as_json: bool,
) -> None:
    """Write the report, print the result, and leave with its exit code."""
    from asi_verify.data import load_dataset
    from asi_verify.report import HTML_FILE, write_report

    data = None if no_images else load_dataset(dataset, data_root=data_root)
    written = write_report(result.folder, data)
    if as_json:
        print_json(
            {
                **result.summary,
                "certificates": written["certificates"],
                "model": written["model"]["sha256"],
                "status": written["status"],
            }
        )
    else:
        console.print(written["headline"])
        larger = result.never_miss
        if result.status.open or (larger is not None and larger.open):
            console.print("What is open, and why, stands first in the report.")
        if result.memorised:
            console.print(f"memorised exceptions: rows {', '.join(map(str, result.memorised))}")
        before, after = written["before"]["accuracy"], written["after"]["accuracy"]
        for name in sorted(after, key=("train", "val", "test").index):
            is_new = written["model"]["corrected"]
            shown = f"{before[name]:.1%} before, {after[name]:.1%} after"
            console.print(f"accuracy on {name}: {shown if is_new else f'{after[name]:.1%}'}")
        if written["never_miss"] is not None:
            console.print(written["never_miss"]["line"], markup=False)
        console.print(f"status: {written['status']}")
        console.print(f"model: {out / 'certificates' / 'artifact.onnx'}")
        console.print(f"report: {out / HTML_FILE}")
    raise typer.Exit(0 if result.holds else OPEN)
