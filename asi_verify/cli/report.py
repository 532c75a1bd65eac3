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
    from asi_verify._configuration import noted_dataset
    from asi_verify.data import load_dataset
    from asi_verify.report import HTML_FILE, write_report
    from asi_verify.store import RunFolder

    place = RunFolder.open(folder)
    data = None
    if not no_images:
        given = dataset is not None
        data = (
            load_dataset(dataset, data_root=data_root)
            if given
            else noted_dataset(folder, data_root)
        )
    console.print(write_report(place, data)["headline"])
    console.print(f"report: {folder / HTML_FILE}")
