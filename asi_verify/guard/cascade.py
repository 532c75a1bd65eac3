"""``Cascade``: a guard, and a second model that is asked about what the guard refuses.

Deferral in the field's words: the first model answers where it is sure, a second one elsewhere, and
a person where that one refuses too. Sure here is proved, for the first model alone: nothing that
the second one says is ever called proved, also if it is a guard itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.canonical import bytes_digest
from asi_verify.core.images import encode
from asi_verify.core.limits import LARGEST_ARTIFACT
from asi_verify.core.operators import Shape
from asi_verify.core.properties import predictions
from asi_verify.errors import ModelError
from asi_verify.guard.guard import LARGEST_GUARD, Answer, Guard
from asi_verify.guard.hand_over import Destination, forms_of, send
from asi_verify.guard.reasons import Reason
from asi_verify.guard.seal import is_sealed
from asi_verify.lowering import read_network
from asi_verify.lowering.files import FileLike, read_file
from asi_verify.runtime.session import Session, load

__all__ = ["Cascade", "CascadeAnswer", "Giver"]


class Giver(StrEnum):
    """Who gave an answer."""

    GUARD = "guard"
    SECOND = "second model"
    NOBODY = "nobody"


@dataclass(frozen=True)
class CascadeAnswer:
    """What a cascade says of one image.

    Attributes:
        label: the answer; None if nobody gave one.
        by: who gave it.
        first: what the guard said.
        second: what the second model said, if it is a guard and was asked; else None.
    """

    label: int | None
    by: Giver
    first: Answer
    second: Answer | None = None

    @property
    def proved(self) -> bool:
        """Whether the guard stands by the label; never if the second model gave it."""
        return self.by is Giver.GUARD


class Cascade:
    """A guard, and a second model for what it refuses.

    An image with a pixel that is none (``Reason.DOMAIN``) is not handed on. Anything else is, what
    the monitors refuse too: a second model that is no guard answers that as well.

    Args:
        guard: the first model.
        second: an ONNX file of a classifier by path or content, one float32 input of the guard's
            images in [0, 1] and one output; or a guard, made or by its file.
        threads: threads inside one operator; 0 lets ONNX Runtime choose.

    Attributes:
        guard: the first model.
        second: the second, if it is a guard; else None.
        digest: the SHA-256 of the second model's file.

    Raises:
        ModelError: the second model cannot be read, or its images or classes are not the guard's.
    """

    def __init__(self, guard: Guard, second: FileLike | Guard, threads: int = 0) -> None:
        self.guard = guard
        self.second: Guard | None = None
        if isinstance(second, Guard):
            self.second = second
        else:
            data = read_file(second, LARGEST_GUARD, ModelError)
            if is_sealed(data):
                self.second = Guard(data, threads=threads)
            else:
                self._network = _Network(data, guard, threads)
        if self.second is not None:
            there = self.second
            if (there.image_shape, there.classes) != (guard.image_shape, guard.classes):
                raise _misfit(guard, there.image_shape, there.classes)
        self.digest = self._network.digest if self.second is None else self.second.digest

    def __call__(self, images: npt.NDArray[Any]) -> list[CascadeAnswer]:
        """One answer per image, the second model asked at once about all that are refused.

        Args:
            images: as for ``Guard``.

        Raises:
            DataError: another shape or dtype.
            ModelError: ONNX Runtime cannot run the second model.
        """
        answers = [
            CascadeAnswer(answer.label, Giver.GUARD, answer)
            if answer.answered
            else CascadeAnswer(None, Giver.NOBODY, answer)
            for answer in self.guard(images)
        ]
        asked = [
            place
            for place, answer in enumerate(answers)
            if not answer.proved and not answer.first.reason & Reason.DOMAIN
        ]
        for place, (label, second) in zip(asked, self._ask(images[asked]), strict=True):
            by = Giver.NOBODY if label is None else Giver.SECOND
            answers[place] = CascadeAnswer(label, by, answers[place].first, second)
        return answers

    def _ask(self, images: npt.NDArray[Any]) -> list[tuple[int | None, Answer | None]]:
        """The second model's labels, None where it gives none, and its answers as a guard."""
        if not len(images):
            return []
        if self.second is None:
            return [(label, None) for label in self._network.labels(images)]
        return [(a.label if a.answered else None, a) for a in self.second(images)]

    def hand_over(
        self,
        images: npt.NDArray[Any],
        answers: Sequence[CascadeAnswer],
        to: Destination,
        references: Sequence[str] | None = None,
    ) -> list[dict[str, Any]]:
        """Hand what nobody answered over to a person; see ``Guard.hand_over``.

        The forms say what the second model was, too, and what it said if it is a guard.
        """
        nobody = [answer.by is Giver.NOBODY for answer in answers]
        forms = forms_of(
            self.guard.inputs(images),
            [a.first if none else None for a, none in zip(answers, nobody, strict=True)],
            references,
            {**self.guard.names, "second": self.digest},
            [answer.second for answer in answers],
        )
        send(forms, to)
        return forms


class _Network:
    """A classifier's file, of whatever operators, as ONNX Runtime runs it."""

    def __init__(self, data: bytes, guard: Guard, threads: int) -> None:
        if len(data) > LARGEST_ARTIFACT:
            raise ModelError(f"second: more than {LARGEST_ARTIFACT} bytes, which is the limit")
        self.digest = bytes_digest(data)
        try:
            seen = load(data, threads, usual=True)
        except ModelError as error:
            raise ModelError(f"second: {error}; give a whole ONNX file") from error
        given, made = seen.get_inputs(), seen.get_outputs()
        if len(given) != 1 or len(made) != 1 or {given[0].type, made[0].type} != {"tensor(float)"}:
            raise ModelError(
                "second: one float32 input and one float32 output are expected; give a "
                "classifier's file, or a guard's as it was made"
            )
        extents = given[0].shape[1:]
        fits = len(extents) == len(guard.image_shape) and all(
            wanted == extent or not isinstance(extent, int)
            for wanted, extent in zip(guard.image_shape, extents, strict=True)
        )
        if not fits:
            raise _misfit(guard, tuple(extents), made[0].shape[-1])
        session = Session(data, threads=threads, usual=True)
        outputs = session.run(np.zeros((1, *guard.image_shape), np.float32)).shape[1]
        if max(2, outputs) != guard.classes:
            raise _misfit(guard, guard.image_shape, outputs)
        # Of several outputs the largest counts, with a softmax or without; of one, its middle.
        head = read_network(data).head if outputs == 1 else None
        self._session = session if head is None else Session(data, head, threads, usual=True)

    def labels(self, images: npt.NDArray[Any]) -> list[int | None]:
        """One per image; None where an output is no number."""
        outputs = self._session.run(encode(images))
        labels = predictions(np.zeros(len(images), np.int64), outputs)
        fine = np.asarray(np.isfinite(outputs).all(axis=1))
        return [int(label) if ok else None for label, ok in zip(labels, fine, strict=True)]


def _misfit(guard: Guard, shape: Shape, classes: object) -> ModelError:
    return ModelError(
        f"second: it takes images of shape {shape} and has {classes} classes; the guard's have "
        f"{guard.image_shape} and {guard.classes}. Give a model of the same images and classes"
    )
