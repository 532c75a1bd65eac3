"""What each round changed, in the three parts of a predetermined change control plan.

Source: FDA, *Marketing Submission Recommendations for a Predetermined Change Control Plan*: the
description of modifications, the modification protocol and the impact assessment. The records are
written after the loop has ended and the round that is kept is chosen. So nothing that is measured
here, on whatever split, can select anything.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from importlib import resources
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from asi_verify.bugs import Evaluation, evaluate
from asi_verify.core.canonical import array_digest, canonical_json
from asi_verify.core.canonical import digest as digest_of
from asi_verify.core.images import encode
from asi_verify.core.network import Network
from asi_verify.data import Samples
from asi_verify.export import Artifact
from asi_verify.repair.examine import Subject
from asi_verify.repair.local_patch import LocalPatch
from asi_verify.repair.loop import round_folder
from asi_verify.store import RunFolder

__all__ = ["change_file", "change_schema", "write_changes"]

SCHEMA = "asi-verify/change/1"

_CONFIDENCE = 0.95
_BATCH = 256
"""Images whose logits are computed at once."""

Rows = npt.NDArray[np.bool_]


def change_schema() -> dict[str, Any]:
    """The JSON schema of ``rounds/NN/change.json``."""
    text = resources.files("asi_verify.repair").joinpath("schema/change-1.json").read_text("utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def change_file(number: int) -> str:
    """Where a round's record lies in the run folder."""
    return round_folder(number) + "change.json"


def write_changes(
    subject: Subject, others: Mapping[str, Samples], kept: int, folder: RunFolder
) -> None:
    """Write the record of every round of a loop that has ended, unless that was done.

    Args:
        subject: what the rounds were examined on.
        others: the splits beside it, by name: measured, and nothing else.
        kept: the number of the round whose model the run ends with.
        folder: with the files of the rounds, the round 0 of the model as it was given included.
    """
    splits = {subject.split: subject.samples, **others}
    before = _Model(0, splits, folder)
    for number in count(1):
        record = folder.read_json(round_folder(number) + "round.json")
        if record is None:
            return
        if record["corrector"]["corrector"] == LocalPatch.kind:
            before = _Model(_patched_round(number, folder), splits, folder)
        after = _Model(number, splits, folder)
        if folder.files.read(change_file(number)) is None:
            change = {
                "description": _description(before, after, record),
                "impact": _impact(before, after, record, subject, others),
                "protocol": _protocol(before, record, subject, others, kept, folder),
                "round": number,
                "schema": SCHEMA,
            }
            # Times differ from run to run: they are outside of the digest, as everywhere.
            name = digest_of(change)
            folder.events.add("change", digest=name, number=number)
            change |= {"digest": name, "time": {"milliseconds": _milliseconds(folder, number)}}
            folder.files.write(change_file(number), canonical_json(change))
        if not record["lost"]:  # what was not taken is not gone on from
            before = after


def _patched_round(number: int, folder: RunFolder) -> int:
    """Which round a local patch was made for: the best before it, which need not be the last."""
    return next(
        earlier
        for earlier in range(1, number)
        if folder.files.read(round_folder(earlier) + "local_patch.json") is not None
    )


@dataclass(frozen=True, eq=False)
class _Model:
    """The model that a round ended with, and what it answers."""

    number: int
    splits: Mapping[str, Samples]
    folder: RunFolder

    @cached_property
    def artifact(self) -> Artifact:
        name = round_folder(self.number) + "certificates/artifact.onnx"
        return Artifact.from_bytes(self.folder.files.require(name))

    @cached_property
    def examined(self) -> dict[str, Any]:
        """What was found on the certified split."""
        found: dict[str, Any] = self.folder.read_json(
            round_folder(self.number) + "examination.json"
        )
        return found

    @property
    def proved(self) -> Rows:
        """Where a certificate is accepted, and is not one of a memorised sample."""
        proved = self.of_samples("accepted", True)
        proved[self.examined["memorised"]] = False
        return proved

    @cached_property
    def answers(self) -> dict[str, Evaluation]:
        """By split, as ONNX Runtime gives them."""
        return {name: evaluate(self.artifact, some) for name, some in self.splits.items()}

    @cached_property
    def logits(self) -> dict[str, npt.NDArray[np.float32]]:
        """By split. Of the network: the file's own outputs may be probabilities."""
        with torch.no_grad():
            return {
                name: np.concatenate(
                    [
                        self.artifact.module(some).numpy()
                        for some in torch.from_numpy(encode(samples.images)).split(_BATCH)
                    ]
                )
                for name, samples in self.splits.items()
            }

    def of_samples(self, key: str, value: object) -> Rows:
        """Where the examination says so of a sample."""
        return np.array([sample[key] == value for sample in self.examined["samples"]])


def _description(before: _Model, after: _Model, record: Mapping[str, Any]) -> dict[str, Any]:
    """What was changed."""
    first, second = before.artifact.network, after.artifact.network
    return {
        "base": before.number,
        "corrector": record["corrector"]["corrector"],
        "epochs": record["epochs"],
        "model_after": after.artifact.digest,
        "model_before": before.artifact.digest,
        "parameters": {
            "after": second.parameters,
            "before": first.parameters,
            "changed": _changed_parameters(first, second),
        },
        "repaired": record["effect"].get("repaired", []),
    }


def _changed_parameters(first: Network, second: Network) -> int | None:
    """How many numbers differ; None for networks of other layers."""
    ours, theirs = (list(_arrays(network)) for network in (first, second))
    if [array.shape for array in ours] != [array.shape for array in theirs]:
        return None
    return sum(int(np.count_nonzero(a != b)) for a, b in zip(ours, theirs, strict=True))


def _arrays(network: Network) -> Iterator[npt.NDArray[Any]]:
    for node in network.nodes:
        for value in vars(node.operator).values():
            if isinstance(value, np.ndarray):
                yield value


def _protocol(
    before: _Model,
    record: Mapping[str, Any],
    subject: Subject,
    others: Mapping[str, Samples],
    kept: int,
    folder: RunFolder,
) -> dict[str, Any]:
    """How it was changed, on which data, and by which rule it was taken."""
    configuration = folder.configuration
    # The ordinary training of ``run`` chooses its epoch on val, and so does one with patience.
    by_val = configuration["kind"] == "run" or record["corrector"].get("patience") is not None
    selected = [subject.split, *(name for name in others if by_val and name == "val")]
    return {
        "data": {
            "contradicted": list(subject.audit.contradicted),
            "dataset": subject.name,
            "measured_only": [name for name in others if name not in selected],
            "selected_on": selected,
            "splits": [
                {
                    "images": array_digest(samples.images),
                    "labels": array_digest(samples.labels),
                    "samples": len(samples),
                    "split": name,
                }
                for name, samples in before.splits.items()
            ],
        },
        "evaluation": {
            "family": subject.audit.family.to_json(),
            "semantics": subject.semantics.value,
            "target": subject.target,
        },
        "retraining": {"seed": configuration["seed"], "settings": record["corrector"]},
        "update": {
            "kept": record["round"] == kept,
            "lost": record["lost"],
            "taken": not record["lost"],
        },
    }


def _impact(
    before: _Model,
    after: _Model,
    record: Mapping[str, Any],
    subject: Subject,
    others: Mapping[str, Samples],
) -> dict[str, Any]:
    """What became better, what became worse, and how far answers moved that nobody asked about."""
    # Refuted is an image that is wrong itself too, and what an attack found beside it.
    quiet = {subject.split: ~before.of_samples("verdict", "refuted")}
    quiet |= {name: np.ones(len(samples), np.bool_) for name, samples in others.items()}
    return {
        "drawdown": [_drawdown(name, before, after) for name in others],
        "efficacy": _efficacy(before, after, record, subject),
        "generalisation": [_generalisation(name, before, after) for name in others],
        "locality": [_locality(name, rows, before, after) for name, rows in quiet.items()],
    }


def _efficacy(
    before: _Model, after: _Model, record: Mapping[str, Any], subject: Subject
) -> dict[str, Any]:
    """Errors and certificates of the certified split."""
    counted = np.ones(len(subject.samples), np.bool_)
    counted[list(subject.audit.contradicted)] = False
    proved, proved_now = (model.proved & counted for model in (before, after))
    wrong, wrong_now = (m.answers[subject.split].wrong for m in (before, after))
    return {
        "bugs_closed": record["closed"],
        "certificates": _moved(proved, proved_now, came="gained", went="lost"),
        "misclassified": _moved(wrong, wrong_now, came="opened", went="closed"),
        "open": len(record["open"]),
    }


def _moved(before: Rows, after: Rows, came: str, went: str) -> dict[str, int]:
    """How many there were and are, and how many came and went."""
    return {
        "after": int(after.sum()),
        "before": int(before.sum()),
        came: int((after & ~before).sum()),
        went: int((before & ~after).sum()),
    }


def _drawdown(name: str, before: _Model, after: _Model) -> dict[str, Any]:
    """What a change cost on images that it was not made for: the same images before and after."""
    first, second = before.answers[name].wrong, after.answers[name].wrong
    lost, won = int((second & ~first).sum()), int((first & ~second).sum())
    right = int((~first).sum())
    return {
        "became_right": won,
        "became_wrong": lost,
        "became_wrong_share": _interval(lost, right),
        "mcnemar": _mcnemar(lost, won),
        "right_after": int((~second).sum()),
        "right_before": right,
        "samples": len(first),
        "split": name,
    }


def _generalisation(name: str, before: _Model, after: _Model) -> dict[str, Any]:
    """Of the images that were wrong and that the change was not made for, how many are right."""
    first, second = before.answers[name].wrong, after.answers[name].wrong
    wrong, won = int(first.sum()), int((first & ~second).sum())
    return {
        "became_right": won,
        "became_right_share": _interval(won, wrong),
        "split": name,
        "wrong_before": wrong,
    }


def _locality(name: str, rows: Rows, before: _Model, after: _Model) -> dict[str, Any]:
    """How far the model moved on images on which no error of it was known."""
    first, second = before.answers[name].predictions, after.answers[name].predictions
    changed = (first != second).reshape(len(rows), -1).any(axis=1) & rows
    # In float64, where differences of float32 numbers do not overflow.
    moves = after.logits[name].astype(np.float64) - before.logits[name]
    moves = np.abs(moves[rows]).max(axis=1)
    numbers = moves[np.isfinite(moves)]
    return {
        "answers_changed": int(changed.sum()),
        "images": int(rows.sum()),
        "largest_logit_change": float(numbers.max()).hex() if len(numbers) else None,
        "median_logit_change": float(np.median(numbers)).hex() if len(numbers) else None,
        "split": name,
    }


def _mcnemar(lost: int, won: int) -> str:
    """The exact two-sided p-value of McNemar's test, as ``float.hex()`` text.

    If a change did as much good as harm, an image whose answer turned would have turned either way
    with the probability 1/2.
    """
    from scipy.stats import binomtest

    value = 1.0 if lost + won == 0 else binomtest(lost, lost + won, 0.5).pvalue
    return float(value).hex()


def _interval(some: int, of: int) -> dict[str, str] | None:
    """The exact 95 % interval of a share (Clopper and Pearson 1934); None of nothing."""
    from scipy.stats import binomtest

    if of == 0:
        return None
    found = binomtest(some, of).proportion_ci(_CONFIDENCE, method="exact")
    return {"high": float(found.high).hex(), "low": float(found.low).hex()}


def _milliseconds(folder: RunFolder, number: int) -> int:
    """The time from the event before a round to its end, pauses of a killed run included."""
    end = start = None
    for event in folder.events.chain().events:
        if event["event"] == "round" and event["details"]["number"] == number:
            end = event["time"]
        elif end is None and event["event"] != "recovered":
            start = event["time"]
    assert start is not None
    assert end is not None
    took = datetime.fromisoformat(end) - datetime.fromisoformat(start)
    return max(0, round(took.total_seconds() * 1000))
