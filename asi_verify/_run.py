"""``run``: train a reference network in the ordinary way, then correct it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from asi_verify._certify import attested, corrected, refuse_both
from asi_verify._configuration import memorise_settings, run_configuration, stage_settings
from asi_verify._never_miss import ClassesLike, never_miss_for, never_miss_settings
from asi_verify._readiness import note_readiness, readiness_of, readiness_settings
from asi_verify._regions import linf_for
from asi_verify._result import RESULT_FILE, Result
from asi_verify.core.cores import require_cores
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.core.radius import RadiusLike
from asi_verify.core.semantics import Semantics
from asi_verify.data import DatasetLike, load_dataset
from asi_verify.store import RunFolder

if TYPE_CHECKING:
    from asi_verify.audit import Readiness
    from asi_verify.prove import Stage
    from asi_verify.repair import Corrector, OrdinaryTraining

__all__ = ["run"]


def run(
    dataset: DatasetLike,
    radius: RadiusLike = "1/255",
    *,
    seed: int = 0,
    architecture: str = "small-cnn",
    options: Mapping[str, int] | None = None,
    semantics: Semantics | str = Semantics.FLOAT32,
    ordinary: OrdinaryTraining | None = None,
    corrector: Corrector | None = None,
    rounds: int = 3,
    last_layer: int = 10,
    memorise: int = 0,
    never_miss: ClassesLike | None = None,
    never_miss_radius: RadiusLike | None = None,
    readiness: Readiness | str | Path | None = None,
    stages: Sequence[Stage] | None = None,
    cores: int = 1,
    out: str | Path | None = None,
    data_root: str | Path | None = None,
    progress: Progress = NO_PROGRESS,
) -> Result:
    """Train a reference network on a data set, and correct it until every error is proved away.

    Args:
        dataset: as for ``certify``; with a split ``train``, and ``val`` to choose the epoch on.
        radius: as for ``correct``.
        seed: of everything random.
        architecture: one of ``asi_verify.zoo.ARCHITECTURES``.
        options: of the architecture, such as ``{"width": 16}``; the others keep their defaults.
        semantics: as for ``certify``.
        ordinary: the ordinary training; ``asi_verify.repair.OrdinaryTraining()`` if not given, with
            batch norm where the architecture has it.
        corrector: as for ``correct``; where the architecture has batch norm, it is trained with
            it, and from weights made for intervals.
        rounds: as for ``correct``.
        last_layer: as for ``correct``.
        memorise: as for ``correct``.
        never_miss: as for ``correct``.
        never_miss_radius: as for ``correct``.
        readiness: as for ``certify``.
        stages: as for ``certify``.
        cores: as for ``certify``.
        out: as for ``correct``.
        data_root: as for ``certify``.
        progress: as for ``certify``.

    Raises:
        UsageError: the data, the radius or the architecture cannot be used; see its subclasses.
        SoundnessAlarm: the checker rejects a proof that was just made.
    """
    from dataclasses import asdict

    from asi_verify.repair import (
        CertifiedTraining,
        LocalPatch,
        Loop,
        OrdinaryTraining,
        ordinary_model,
        untrained_network,
    )
    from asi_verify.zoo import architecture as architecture_named

    require_cores(cores)
    family, arithmetic = linf_for(radius), Semantics.of(semantics)
    folder = RunFolder.in_memory() if out is None else RunFolder.at(out)  # refused first
    data = load_dataset(dataset, data_root=data_root)
    normed: bool = architecture_named(architecture).batch_norm
    training = ordinary if ordinary is not None else OrdinaryTraining(batch_norm=normed)
    chosen = corrector
    if chosen is None:
        chosen = CertifiedTraining(batch_norm=normed, fresh_weights=normed)
    larger = never_miss_for(never_miss, never_miss_radius, data, "train", family)
    refuse_both(larger, memorise)
    patch = LocalPatch.of(memorise, len(data.split("train")))
    loop = Loop.of(chosen, rounds, last_layer, patch)
    ready = readiness_of(readiness, data)
    start = untrained_network(architecture, data, seed, options)
    with folder.locked():
        folder.configure(
            run_configuration("run", data, family, arithmetic)
            | {"architecture": architecture, "options": dict(options or {})}
            | {"corrector": chosen.settings(), "last_layer": last_layer}
            | memorise_settings(memorise)
            | {"ordinary": asdict(training), "rounds": rounds, "seed": seed}
            | {"stages": stage_settings(stages)}
            | never_miss_settings(larger)
            | readiness_settings(ready)
        )
        note_readiness(ready, folder)
        artifact = ordinary_model(
            start, architecture, training, data, seed, folder, progress=progress
        )
        if folder.read_json(RESULT_FILE) is None:
            corrected(
                artifact,
                data,
                family,
                arithmetic,
                seed,
                loop,
                folder,
                stages,
                progress,
                never_miss=larger,
                cores=cores,
            )
        attested(folder)
    return Result(folder)
