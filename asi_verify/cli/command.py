"""The commands in the order of ``--help``, and what the exit code is when one ends."""

from __future__ import annotations

import logging

import typer

from asi_verify.cli.bubbles import bubbles
from asi_verify.cli.certify import certify
from asi_verify.cli.check import check
from asi_verify.cli.compare import compare
from asi_verify.cli.correct import correct
from asi_verify.cli.datasets import datasets_app
from asi_verify.cli.doctor import doctor
from asi_verify.cli.errors import errors
from asi_verify.cli.exit_codes import INTERRUPTED, OPEN, WRONG_USE
from asi_verify.cli.guard import guard
from asi_verify.cli.models import models
from asi_verify.cli.plan import plan
from asi_verify.cli.printing import err_console
from asi_verify.cli.query import query
from asi_verify.cli.radii import radii
from asi_verify.cli.report import report
from asi_verify.cli.run import run
from asi_verify.cli.search import search
from asi_verify.cli.sign import sign
from asi_verify.cli.validate import validate
from asi_verify.cli.verify import verify
from asi_verify.cli.vnnlib import vnnlib
from asi_verify.errors import AsiVerifyError, SoundnessAlarm

__all__ = ["app", "main"]

app = typer.Typer(
    name="asi-verify",
    help="Correct a classifier until every logged mistake is proved unable to come back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _command in (
    run,
    search,
    correct,
    certify,
    errors,
    check,
    compare,
    plan,
    radii,
    bubbles,
    sign,
    verify,
    validate,
    report,
    guard,
    vnnlib,
    query,
    models,
    doctor,
):
    app.command()(_command)
app.add_typer(datasets_app, name="datasets")


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        app(arguments, prog_name="asi-verify")
    except SystemExit as leaving:
        if leaving.code == INTERRUPTED:  # typer has dealt with the interruption
            err_console.print("stopped; the same command goes on where it was")
        return leaving.code if isinstance(leaving.code, int) else OPEN
    except SoundnessAlarm as alarm:
        err_console.print(f"SOUNDNESS ALARM: {alarm}", markup=False)
        return OPEN
    except AsiVerifyError as error:
        err_console.print(f"error: {error}", markup=False)
        return WRONG_USE
    except OSError as error:  # a folder that cannot be written, a full disk
        place = "" if error.filename is None else f"{error.filename}: "
        err_console.print(f"error: {place}{error.strerror or error}", markup=False)
        return WRONG_USE
    return 0
