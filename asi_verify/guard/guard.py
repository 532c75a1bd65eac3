"""``Guard``: runs a guard's ONNX file in ONNX Runtime, and gives answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from asi_verify.core.canonical import bytes_digest
from asi_verify.core.images import encode
from asi_verify.core.limits import LARGEST_ARTIFACT
from asi_verify.core.operators import Shape
from asi_verify.core.radius import Radius
from asi_verify.errors import DataError, ModelError, SoundnessAlarm
from asi_verify.guard.graph import FORMAT, OUTPUTS
from asi_verify.guard.hand_over import Destination, forms_of, send
from asi_verify.guard.membership import Members
from asi_verify.guard.reasons import Reason
from asi_verify.lowering import INPUT_NAME
from asi_verify.lowering.files import FileLike, read_file
from asi_verify.runtime.session import load

__all__ = ["Answer", "Guard"]

_BATCH = 256
_LARGEST = 4 * LARGEST_ARTIFACT
"""Bytes of a guard's file: it holds the weights, their magnitudes, and differences of logits."""


@dataclass(frozen=True)
class Answer:
    """What a guard says of one image.

    Attributes:
        label: the model's label for the image itself, whether it is answered or not.
        answered: whether the guard stands by it. Then the model gives this label everywhere in the
            region around the image; or, if ``member`` is not None, the image lies in a region for
            which a certificate was accepted.
        margin: a lower bound on how far the label's logit is above every other one in the region
            around the image; minus infinity where a pixel is none.
        reason: what refuses, a sum of codes; ``Reason.NONE`` if it is answered.
        member: the row of a training image in whose accepted region this one lies, if members were
            given and there is one.
    """

    label: int
    answered: bool
    margin: float
    reason: Reason
    member: int | None = None


class Guard:
    """A model that can say "I don't know": a guard's file as ONNX Runtime runs it on the CPU.

    With all of ONNX Runtime's usual optimisations, as any other program would run the file.

    Args:
        file: the path of the file, or its bytes.
        members: accepted regions of training images, which hold their pixels: the file
            ``members.npz`` by path or content; none if not given.
        threads: threads inside one operator; 0 lets ONNX Runtime choose.

    Attributes:
        digest: the SHA-256 of the file.
        artifact: that of the model that it guards.
        radius: of the region around each image.
        image_shape: of one image, ``(C, *spatial)``.

    Raises:
        ModelError: it is no guard's file, or ONNX Runtime cannot load it.
    """

    def __init__(
        self, file: FileLike, members: FileLike | Members | None = None, threads: int = 0
    ) -> None:
        data = read_file(file, _LARGEST, ModelError)
        self.digest = bytes_digest(data)
        self._session = load(data, threads, usual=True)
        told = self._session.get_modelmeta().custom_metadata_map
        names = tuple(output.name for output in self._session.get_outputs())
        if told.get("format") != FORMAT or names != OUTPUTS:
            raise ModelError(
                f"the file is no guard's ({FORMAT}); make one with asi_verify.build_guard"
            )
        self.artifact = str(told["artifact"])
        self.radius = Radius.of(told["radius"])
        (given,) = self._session.get_inputs()
        self.image_shape: Shape = tuple(given.shape[1:])
        self._members = (
            members if members is None or isinstance(members, Members) else Members.read(members)
        )
        if self._members is not None and self._members.artifact != self.artifact:
            raise ModelError(
                f"members: their certificates are about the model {self._members.artifact}, the "
                f"guard is about {self.artifact}"
            )

    @property
    def has_members(self) -> bool:
        """Whether accepted regions of training images are looked up."""
        return self._members is not None

    def __call__(self, images: npt.NDArray[Any]) -> list[Answer]:
        """One answer per image.

        Args:
            images: shape ``(N, *image_shape)``, uint8, or float32 in [0, 1]. A float image with a
                NaN or a pixel outside of [0, 1] is not answered, and no error.

        Raises:
            DataError: another shape or dtype.
            SoundnessAlarm: the model contradicts a certificate that was accepted.
        """
        inputs = self._inputs(images)
        answers = [
            Answer(int(label), bool(answered), float(margin), Reason(int(reason)))
            for start in range(0, len(inputs), _BATCH)
            for label, answered, margin, reason in zip(
                *self.run(inputs[start : start + _BATCH]), strict=True
            )
        ]
        if self._members is None:
            return answers
        found = self._members.find(inputs)
        return [_as_member(a, m) for a, m in zip(answers, found, strict=True)]

    def run(self, inputs: npt.NDArray[np.float32]) -> list[npt.NDArray[Any]]:
        """The file's outputs ``label``, ``answered``, ``margin`` and ``reason``, as they are.

        Args:
            inputs: shape ``(N, *image_shape)``.
        """
        found: list[npt.NDArray[Any]] = self._session.run(list(OUTPUTS), {INPUT_NAME: inputs})
        return found

    def hand_over(
        self,
        images: npt.NDArray[Any],
        answers: Sequence[Answer],
        to: Destination,
        references: Sequence[str] | None = None,
    ) -> list[dict[str, Any]]:
        """Hand what was not answered over to a person.

        Args:
            images: what was asked, as for a call.
            answers: what was answered.
            to: a folder, in which each form becomes a file; or a function that is called with each
                form.
            references: by which the images are known to whoever asked; they stand in the forms.

        Returns:
            The forms (``guard.hand_over``), in the order of the images. They hold no pixels.
        """
        forms = forms_of(
            self._inputs(images),
            [None if answer.answered else answer for answer in answers],
            references,
            {"artifact": self.artifact, "guard": self.digest, "radius": str(self.radius.value)},
        )
        send(forms, to)
        return forms

    def _inputs(self, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        if images.dtype not in (np.uint8, np.float32) or images.shape[1:] != self.image_shape:
            raise DataError(
                f"images: shape {images.shape}, dtype {images.dtype}; (N, "
                f"{', '.join(map(str, self.image_shape))}) of uint8, or of float32 in [0, 1], is "
                "expected"
            )
        return encode(images)


def _as_member(answer: Answer, member: tuple[int, int] | None) -> Answer:
    if member is None:
        return answer
    row, label = member
    if label != answer.label:
        raise SoundnessAlarm(
            f"an image lies in the accepted region of row {row}, label {label}, and the model "
            f"answers {answer.label}"
        )
    return replace(answer, answered=True, reason=Reason.NONE, member=row)
