"""``asi-verify report``: writes a run's report again."""

from __future__ import annotations

from asi_verify.cli.options import (
    DataRootOption,
    NamedDatasetOption,
    NoImagesOption,
    RunFolderArgument,
)
from asi_verify.cli.printing import console

__all__ = ["report"]


def report(
    folder: RunFolderArgument,
    dataset: NamedDatasetOption = None,
    data_root: DataRootOption = None,
    no_images: NoImagesOption = False,
) -> None:
    """Write report.json and report.html again."""
    from asi_verify._configuration import dataset_of
    from asi_verify._result import load
    from asi_verify.report import HTML_FILE, write_report

    result = load(folder)
    # Of another data set, the pictures would be of other images than the rows beside them.
    data = None if no_images else dataset_of(result, dataset, data_root)
    console.print(write_report(result.folder, data)["headline"])
    console.print(f"report: {folder / HTML_FILE}")
