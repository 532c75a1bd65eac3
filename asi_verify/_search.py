"""``search``: which network and which settings to correct it by, within a budget of epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asi_verify._certify import audited
from asi_verify._configuration import run_configuration
from asi_verify._regions import linf_for
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.core.radius import RadiusLike
from asi_verify.core.semantics import Semantics
from asi_verify.data import DatasetLike, load_dataset
from asi_verify.errors import RunFolderError, UsageError
from asi_verify.store import RunFolder

if TYPE_CHECKING:
    from asi_verify.repair import Candidate

__all__ = ["SETTINGS_FILE", "SearchResult", "search"]

SETTINGS_FILE = "settings.json"
_RESULT_FILE = "search.json"


class SearchResult:
    """What a search found: a view of its folder.

    Attributes:
        folder: the folder behind it.
    """

    def __init__(self, folder: RunFolder) -> None:
        found = folder.read_json(_RESULT_FILE)
        if found is None:
            raise RunFolderError(f"{folder.files}: the search is not finished; start it again")
        self.folder = folder
        self._found: dict[str, Any] = found

    @property
    def best(self) -> Candidate:
        """The settings that were chosen: what to give to ``run``."""
        from asi_verify.repair import Candidate

        return Candidate.from_json(self.folder.read_json(SETTINGS_FILE))

    @property
    def summary(self) -> dict[str, Any]:
        """Every candidate with what it reached in each of its stages, and what was spent."""
        return dict(self._found)

    def __repr__(self) -> str:
        return f"<asi_verify search: candidate {self._found['best']}, {self.folder.files}>"


def search(
    dataset: DatasetLike,
    radius: RadiusLike = "1/255",
    *,
    budget: int,
    candidates: Sequence[Candidate] | None = None,
    seed: int = 0,
    semantics: Semantics | str = Semantics.FLOAT32,
    out: str | Path | None = None,
    data_root: str | Path | None = None,
    progress: Progress = NO_PROGRESS,
) -> SearchResult:
    """Which network, and which settings of its correction, certify most within a budget.

    Successive halving: all candidates are trained for a few epochs, the better half goes on from
    there, until one is left. Better is who has more training samples certified at the whole radius,
    then more validation samples right. The test split is not looked at: it is taken away before
    anything begins.

    Args:
        dataset: as for ``run``.
        radius: as for ``run``.
        budget: epochs of certified training, of all candidates together. The ordinary training that
            ``run`` begins with comes on top, once for every different network.
        candidates: ``asi_verify.repair.usual_candidates`` of the images' shape if not given.
        seed: as for ``run``. With the same one ``run`` repeats what the winner did here, epoch for
            epoch.
        semantics: as for ``run``.
        out: the folder of the search, which goes on if it was killed. In memory if not given.
        data_root: as for ``run``.
        progress: told how far things are.

    Raises:
        UsageError: the data, the radius or a candidate cannot be used, or the budget is too small.

    What is not promised: that the winner of a small budget is the best at the end of a long
    training. Epochs of larger networks take longer, and count the same.
    """
    from asi_verify.repair import (
        Trials,
        halved,
        halving_stages,
        untrained_network,
        usual_candidates,
    )

    family, arithmetic = linf_for(radius), Semantics.of(semantics)
    folder = RunFolder.in_memory() if out is None else RunFolder.at(out)  # refused first
    whole = load_dataset(dataset, data_root=data_root)
    whole.split("train")  # refused before anything is written
    data = replace(
        whole, splits={k: whole.splits[k] for k in ("train", "val") if k in whole.splits}
    )
    chosen = tuple(usual_candidates(data.image_shape) if candidates is None else candidates)
    _refuse_unusable(chosen, budget)
    stages = halving_stages(len(chosen), budget)
    starts = [untrained_network(c.architecture, data, seed, c.options) for c in chosen]
    with folder.locked():
        folder.configure(
            run_configuration("search", data, family, arithmetic)
            | {"budget": budget, "candidates": [c.settings() for c in chosen], "seed": seed}
        )
        if folder.read_json(_RESULT_FILE) is None:
            subject = audited(data, family, arithmetic, "train", folder, progress)
            trials = Trials(chosen, starts, data, subject, seed, folder, progress)
            best = halved(stages, lambda number, at: trials.score(number, at, stages[at].until))
            folder.write_json(SETTINGS_FILE, chosen[best].to_json())
            folder.write_json(_RESULT_FILE, {"best": best, "budget": budget, **trials.told()})
            trials.clear()
    return SearchResult(folder)


def _refuse_unusable(candidates: Sequence[Candidate], budget: int) -> None:
    from asi_verify.repair import Candidate

    if not candidates:
        raise UsageError("candidates: there are none; leave them out for the usual ones")
    for candidate in candidates:
        if not isinstance(candidate, Candidate):
            raise UsageError(f"candidates: {candidate!r} is no asi_verify.repair.Candidate")
    if type(budget) is not int:
        raise UsageError(f"budget: {budget!r}; a whole number of epochs is expected")
