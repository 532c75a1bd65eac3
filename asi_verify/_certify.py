"""``certify`` and ``correct``: they wire the stages and contain no algorithm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asi_verify._configuration import memorise_settings, run_configuration, stage_settings
from asi_verify._never_miss import (
    NEVER_MISS,
    ClassesLike,
    found_and_cleared,
    never_miss_for,
    never_miss_settings,
)
from asi_verify._provenance import machine, versions
from asi_verify._readiness import note_readiness, readiness_of, readiness_settings
from asi_verify._regions import family_for, linf_for, require_radius
from asi_verify._result import AUDIT_FILE, CERTIFICATES, GIVEN, RESULT_FILE, Result
from asi_verify.core.claims import ARTIFACT_FILE
from asi_verify.core.cores import require_cores
from asi_verify.core.family import RegionFamily
from asi_verify.core.linf import LInf
from asi_verify.core.local_patch import unpatched
from asi_verify.core.never_miss import NeverMiss
from asi_verify.core.progress import NO_PROGRESS, Progress
from asi_verify.core.radius import RadiusLike
from asi_verify.core.semantics import Semantics
from asi_verify.data import Dataset, DatasetLike, Preprocess, Samples, load_dataset
from asi_verify.errors import UsageError
from asi_verify.store import RunFolder

if TYPE_CHECKING:
    from asi_verify.audit import Readiness
    from asi_verify.export import Artifact, ModelLike
    from asi_verify.prove import Stage
    from asi_verify.repair import Corrector, Examination, Loop, Subject

__all__ = ["certify", "correct"]

_TARGETS = ("label", "prediction")


def certify(
    model: ModelLike,
    dataset: DatasetLike,
    radius: RadiusLike | RegionFamily = "1/255",
    *,
    split: str = "train",
    target: str = "label",
    semantics: Semantics | str = Semantics.FLOAT32,
    preprocess: Preprocess | None = None,
    never_miss: ClassesLike | None = None,
    never_miss_radius: RadiusLike | None = None,
    readiness: Readiness | str | Path | None = None,
    stages: Sequence[Stage] | None = None,
    cores: int = 1,
    out: str | Path | None = None,
    data_root: str | Path | None = None,
    progress: Progress = NO_PROGRESS,
) -> Result:
    """Errors, proofs and counterexamples of a model as it is.

    Args:
        model: a torch module, the path of an ONNX file, or its bytes. It is not changed.
        dataset: a MedMNIST name, a folder, an NPZ file, ``(images, labels)``, a torch data set.
        radius: of the L-infinity regions: ``"1/255"``, ``"2 grey levels"``, a fraction or a float
            in pixel units, where [0, 1] is the range of a pixel. Or ``"1 pixel"``, ``"3 voxels"``:
            at most so many take any other of the data set's grey levels. Or ``"l2 0.5"``,
            ``"l1 3"``: the changes of all pixels count together, in that norm. Or ``"patch 3"``: a
            window of so many pixels a side takes any values. Or ``"brightness 10/255"``,
            ``"contrast 0.1"``, ``"brightness 10/255 contrast 0.1"``, ``"bias 0.1 degree 2"``: the
            whole image becomes brighter, its contrast changes, or it is multiplied by a smooth
            field. Or a family: ``Intensity``, ``KPixel``, ``L1``, ``L2``, ``Patch``.
        split: the samples to certify.
        target: ``"label"``: the label holds everywhere in the region; ``"prediction"``: whatever
            the model answers for the sample does.
        semantics: ``"float32"``: whatever order a runtime sums in, its rounding is covered;
            ``"real"``: exact arithmetic on the model's weights.
        preprocess: what the model expects instead of NCHW in [0, 1].
        never_miss: classes (names or numbers, one or several) of which no sample may be missed:
            theirs are certified in larger regions too, by a second set of certificates. Of
            L-infinity regions and labels.
        never_miss_radius: of these larger regions; four times ``radius`` if not given.
        readiness: what ``audit_dataset`` found about this data set, or its file; at any radius. The
            claims and the report name it; errors on samples whose labels it suspects say so, and
            nothing else depends on it.
        stages: of the cascade (``asi_verify.prove.default_stages()``).
        cores: processes that prove and check, each on a core of its own, and with as much memory as
            one alone. They decide nothing, but slopes that are optimised beside others may differ
            in their last digits. Training uses threads.
        out: the run folder; in memory if not given.
        data_root: where MedMNIST files are looked for first.
        progress: told how far things are.

    Returns:
        The result; certificates that the checker accepted are in it.

    Raises:
        UsageError: the model, the data or the radius cannot be used; see its subclasses.
        SoundnessAlarm: the checker rejects a proof that was just made.

    What is not promised: anything about inputs outside the regions, such as other patients; in
    float32, runtimes with Winograd or Fourier convolutions, TF32 or half precision, or fusions that
    change constants; under real semantics, the rounding of any runtime.
    """
    from asi_verify.repair import tried_at_ceilings

    require_target(target)
    require_cores(cores)
    require_radius(radius)
    arithmetic = Semantics.of(semantics)
    folder = RunFolder.in_memory() if out is None else RunFolder.at(out)  # refused first
    data = load_dataset(dataset, data_root=data_root)
    data.split(split)  # refused before anything is written
    family = family_for(radius, data)
    larger = _never_miss_in(family, never_miss, never_miss_radius, data, split, target)
    ready = readiness_of(readiness, data)
    artifact = _given_model(model, data, preprocess)
    if folder.read_json(RESULT_FILE) is None:
        _refuse_unprocessed(artifact, data.split(split), preprocess)
    with folder.locked():
        folder.configure(
            {
                **run_configuration("certify", data, family, arithmetic, split),
                "model": artifact.digest,
            }
            | {"target": target, "stages": stage_settings(stages)}
            | never_miss_settings(larger)
            | readiness_settings(ready)
        )
        note_readiness(ready, folder)
        if folder.read_json(RESULT_FILE) is None:
            subject = audited(data, family, arithmetic, split, folder, progress, target, larger)
            found = _examine_given(artifact, subject, folder, stages, progress, cores)
            folder.write_json(
                RESULT_FILE,
                {
                    **_figures(found),
                    "before": _accuracies(artifact, data),
                    "contradicted": tried_at_ceilings(artifact, subject, stages),
                }
                | _named_figures(found.to_json(), subject, {"before": artifact}, data),
            )
        _publish(folder, GIVEN)
        attested(folder)
    return Result(folder)


def correct(
    model: ModelLike,
    dataset: DatasetLike,
    radius: RadiusLike = "1/255",
    *,
    seed: int = 0,
    semantics: Semantics | str = Semantics.FLOAT32,
    preprocess: Preprocess | None = None,
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
    """The whole loop: log every error of a model, correct it, prove that none can recur.

    The model's errors on ``train`` are logged; then it is retrained on the whole split, exported,
    enumerated, proved and checked in rounds, until every sample outside the contradictions has an
    accepted certificate or the rounds end. The ``test`` split is only measured.

    Args:
        model: as for ``certify``. It is not changed: the corrected one is ``result.model``.
        dataset: as for ``certify``; with a split ``train``.
        radius: as for ``certify``, of L-infinity regions only.
        seed: of everything random; the same seed gives the same artifact on the same machine.
        semantics: as for ``certify``.
        preprocess: as for ``certify``.
        corrector: ``asi_verify.repair.CertifiedTraining()`` if not given.
        rounds: at most so many.
        last_layer: after a round that leaves at most so many samples open, the smallest change of
            the last layer is looked for that certifies them and keeps the others
            (``asi_verify.repair.LastLayer``); 0 to leave that out.
        memorise: when the rounds are over, so many samples at most that are still open, and never
            more than 1 % of the split, are memorised, each by a change inside its own region alone
            (``asi_verify.repair.LocalPatch``). They are listed as exceptions and the status counts
            them; none by default. Not beside ``never_miss``.
        never_miss: as for ``certify``. Samples of these classes are trained in the larger regions,
            and are open without either certificate.
        never_miss_radius: as for ``certify``.
        readiness: as for ``certify``.
        stages: as for ``certify``.
        cores: as for ``certify``.
        out: the run folder; a run that was killed goes on where it was. In memory if not given.
        data_root: as for ``certify``.
        progress: told how far things are.

    Returns:
        The result of the best round; its status says plainly whether zero was reached, and what
        is still open is listed as handed over to a guard.

    Raises:
        UsageError: the model, the data or the radius cannot be used; see its subclasses.
        SoundnessAlarm: the checker rejects a proof that was just made.
    """
    from asi_verify.repair import CertifiedTraining, LocalPatch, Loop

    require_cores(cores)
    family, arithmetic = linf_for(radius), Semantics.of(semantics)
    folder = RunFolder.in_memory() if out is None else RunFolder.at(out)  # refused first
    data = load_dataset(dataset, data_root=data_root)
    train = data.split("train")  # refused before anything is written
    larger = never_miss_for(never_miss, never_miss_radius, data, "train", family)
    refuse_both(larger, memorise)
    chosen = corrector if corrector is not None else CertifiedTraining()
    loop = Loop.of(chosen, rounds, last_layer, LocalPatch.of(memorise, len(train)))
    ready = readiness_of(readiness, data)
    artifact = _given_model(model, data, preprocess)
    if folder.read_json(RESULT_FILE) is None:
        _refuse_unprocessed(artifact, train, preprocess)
    with folder.locked():
        folder.configure(
            {**run_configuration("correct", data, family, arithmetic), "model": artifact.digest}
            | {"corrector": chosen.settings(), "last_layer": last_layer}
            | memorise_settings(memorise)
            | {"rounds": rounds, "seed": seed}
            | {"stages": stage_settings(stages)}
            | never_miss_settings(larger)
            | readiness_settings(ready)
        )
        note_readiness(ready, folder)
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
                larger,
                cores,
            )
        attested(folder)
    return Result(folder)


def corrected(
    artifact: Artifact,
    data: Dataset,
    family: LInf,
    semantics: Semantics,
    seed: int,
    loop: Loop,
    folder: RunFolder,
    stages: Sequence[Stage] | None,
    progress: Progress,
    never_miss: NeverMiss | None = None,
    cores: int = 1,
) -> None:
    """Correct an artifact in a configured and locked folder; rounds in it are not done again."""
    from asi_verify.export import Artifact
    from asi_verify.prove import Falsify, Intervals
    from asi_verify.repair import round_folder, tried_at_ceilings, write_changes

    subject = audited(data, family, semantics, "train", folder, progress, never_miss=never_miss)
    if folder.read_json(GIVEN + "examination.json") is None:
        _examine_given(artifact, subject, folder, (Falsify(), Intervals()), progress, cores)
    # What was memorised before is no part of what training begins with.
    best = loop.run(unpatched(artifact.network), subject, seed, folder, stages, progress, cores)
    others = {name: samples for name, samples in data.splits.items() if name != "train"}
    write_changes(subject, others, best, folder)
    _publish(folder, round_folder(best))
    final = Artifact.from_bytes(folder.files.require(CERTIFICATES + ARTIFACT_FILE))
    examined = folder.read_json(round_folder(best) + "examination.json")
    record = folder.read_json(round_folder(best) + "round.json")
    folder.write_json(
        RESULT_FILE,
        {
            "accepted": record["accepted"],
            "after": _accuracies(final, data),
            "before": _accuracies(artifact, data),
            "contradicted": tried_at_ceilings(final, subject, stages),
            "contradictions": len(subject.audit.contradicted),
            "handed_over": record["open"],
            "memorised": record["memorised"],
            "misclassified": examined["misclassified"],
            "open": len(subject.samples)
            - len(subject.audit.contradicted)
            - record["accepted"]
            - len(record["memorised"]),
            "round": best,
            "samples": len(subject.samples),
        }
        | _named_figures(examined, subject, {"before": artifact, "after": final}, data),
    )


def refuse_both(never_miss: NeverMiss | None, memorise: int) -> None:
    """Refuse to memorise beside classes that must never be missed: what is local proves no more."""
    if never_miss is not None and memorise:
        raise UsageError(
            f"memorise: {memorise}; it cannot be combined with never_miss, whose regions reach "
            "further than what is memorised"
        )


def require_target(target: str) -> None:
    """Refuse anything but a target of certification."""
    if target not in _TARGETS:
        raise UsageError(f"target: {target!r}; one of {', '.join(_TARGETS)} is expected")


def attested(folder: RunFolder) -> None:
    """State what a finished run ended with, unless that was done."""
    from asi_verify.attest import write_statement

    write_statement(folder)


def audited(
    data: Dataset,
    family: RegionFamily,
    semantics: Semantics,
    split: str,
    folder: RunFolder,
    progress: Progress,
    target: str = "label",
    never_miss: NeverMiss | None = None,
) -> Subject:
    """The audited split, with the audit written down."""
    from asi_verify.audit import audit, noted_readiness
    from asi_verify.repair import Subject

    findings = audit(data, family, split, progress, never_miss)
    if target == "prediction":
        # What contradicts is labels; about a model's own answers nothing is set aside.
        findings = replace(findings, contradictions=())
    folder.write_json(AUDIT_FILE, findings.to_json())
    provenance: dict[str, Any] = {"machine": machine(), "versions": versions()}
    suspected: frozenset[int] = frozenset()
    if (ready := noted_readiness(folder)) is not None:
        provenance["readiness"] = ready.digest
        suspected = frozenset(suspect.row for suspect in ready.suspects(split) or ())
    return Subject(
        data.name,
        split,
        data.split(split),
        findings,
        target,
        provenance,
        semantics,
        suspected,
        data.splits.get("val") if split == "train" else None,
    )


def _never_miss_in(
    family: RegionFamily,
    classes: ClassesLike | None,
    radius: RadiusLike | None,
    data: Dataset,
    split: str,
    target: str,
) -> NeverMiss | None:
    """What is never to be missed by a model as it is; refused where that has no meaning."""
    if classes is None and radius is None:
        return None
    if not isinstance(family, LInf) or target != "label":
        raise UsageError(
            "never_miss: it is of labels and L-infinity regions alone, so of a radius like "
            f'"1/255" and target="label", not of {family} and target={target!r}'
        )
    return never_miss_for(classes, radius, data, split, family)


def _given_model(model: ModelLike, data: Dataset, preprocess: Preprocess | None) -> Artifact:
    from asi_verify.export import load_model

    return load_model(model, data.image_shape, preprocess)


def _refuse_unprocessed(
    artifact: Artifact, samples: Samples, preprocess: Preprocess | None
) -> None:
    from asi_verify.bugs import evaluate, require_better_than_majority

    if preprocess is None:
        require_better_than_majority(evaluate(artifact, samples), samples)


def _examine_given(
    artifact: Artifact,
    subject: Subject,
    folder: RunFolder,
    stages: Sequence[Stage] | None,
    progress: Progress,
    cores: int,
) -> Examination:
    """Examine the model as it was given: round 0."""
    from asi_verify.repair import examine

    found = examine(artifact, subject, 0, folder, stages, progress=progress, cores=cores)
    folder.events.add("examined", model=artifact.digest, round=0, status=str(found.status))
    folder.write_json(GIVEN + "examination.json", found.to_json())
    progress.say(
        f"as given: {int(found.evaluation.wrong.sum())} of {len(subject.samples)} misclassified, "
        f"{len(found.counted)} certified"
    )
    return found


def _figures(found: Examination) -> dict[str, Any]:
    return {
        "accepted": len(found.counted),
        "contradictions": found.status.contradictions,
        "memorised": found.exceptions,
        "misclassified": int(found.evaluation.wrong.sum()),
        "open": found.status.open,
        "round": 0,
        "samples": len(found.subject.samples),
    }


def _named_figures(
    examination: dict[str, Any], subject: Subject, models: dict[str, Artifact], data: Dataset
) -> dict[str, Any]:
    """What was found about classes that must never be missed; nothing if there are none."""
    never_miss = subject.audit.never_miss
    if never_miss is None:
        return {}
    asked, named = subject.asked, subject.named
    found = examination["never_miss"]
    accepted = {s["row"] for s in found["samples"] if s["accepted"]}
    counted = len(accepted.intersection(asked.tolist()) - set(found.get("memorised", [])))
    figures = {
        "accepted": counted,
        "classes": [data.classes[label] for label in never_miss.labels],
        "contradictions": len(named) - len(asked),
        "open": len(asked) - counted,
        "samples": len(named),
    }
    rates = {
        when: found_and_cleared(artifact, data, never_miss) for when, artifact in models.items()
    }
    return {"never_miss": figures | rates}


def _accuracies(artifact: Artifact, data: Dataset) -> dict[str, Any]:
    from asi_verify.bugs import evaluate

    return {
        "accuracy": {
            name: evaluate(artifact, samples).accuracy for name, samples in data.splits.items()
        },
        "model": artifact.digest,
    }


def _publish(folder: RunFolder, source: str) -> None:
    """Copy a round's certificates to where users and the checker look for them."""
    for name in folder.files.names():
        if name.startswith((source + CERTIFICATES, source + NEVER_MISS)):
            folder.files.write(name.removeprefix(source), folder.files.require(name))
