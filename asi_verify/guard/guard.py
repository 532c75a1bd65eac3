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
from asi_verify.core.query import is_digest
from asi_verify.core.radius import Radius
from asi_verify.errors import DataError, ModelError, SoundnessAlarm
from asi_verify.guard.graph import BOUNDS, FORMAT, OUTPUTS
from asi_verify.guard.hand_over import Destination, forms_of, send
from asi_verify.guard.membership import Members
from asi_verify.guard.reasons import Reason
from asi_verify.guard.seal import is_sealed
from asi_verify.lowering import INPUT_NAME
from asi_verify.lowering.files import FileLike, read_file
from asi_verify.runtime.session import load

__all__ = ["LARGEST_GUARD", "Answer", "Guard"]

_BATCH = 256
LARGEST_GUARD = 4 * LARGEST_ARTIFACT
"""Bytes of a guard's file: it holds the weights, their magnitudes, and differences of logits."""
_TYPES = ("tensor(int64)", "tensor(bool)", "tensor(float)", "tensor(int64)")
"""Of the outputs."""


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
        bounds: by what margins are bounded (``write_guard``).
        image_shape: of one image, ``(C, *spatial)``.
        classes: how many labels there are.

    Raises:
        ModelError: it is no guard's file, or not as it was made; or the members are of another
            model.
        DataError: it is no file of members, or not as it was made.
    """

    def __init__(
        self, file: FileLike, members: FileLike | Members | None = None, threads: int = 0
    ) -> None:
        data = read_file(file, LARGEST_GUARD, ModelError)
        if not is_sealed(data):
            raise _no_guard("or not as it was made: a byte of it was changed")
        self.digest = bytes_digest(data)
        self._session = load(data, threads, usual=True)
        outputs = self._session.get_outputs()
        if tuple(o.name for o in outputs) != OUTPUTS or tuple(o.type for o in outputs) != _TYPES:
            raise _no_guard(f"which has the outputs {', '.join(OUTPUTS)}")
        told = self._session.get_modelmeta().custom_metadata_map
        try:
            self.artifact = str(told["artifact"])
            self.radius = Radius.of(told["radius"])
            self.classes = int(told["classes"])
            self.bounds = str(told["bounds"])
            (given,) = self._session.get_inputs()
        except (KeyError, ValueError):  # a RadiusError is a ValueError
            raise _no_guard("which names its artifact, radius, bounds and classes") from None
        if (
            told.get("format") != FORMAT
            or self.bounds not in BOUNDS
            or not is_digest(self.artifact)
        ):
            raise _no_guard("which names its format, bounds and the digest of its artifact")
        self.image_shape: Shape = tuple(given.shape[1:])
        self._members = (
            members if members is None or isinstance(members, Members) else Members.read(members)
        )
        if self._members is not None:
            self._refuse_members_of_others(self._members)

    def _refuse_members_of_others(self, members: Members) -> None:
        if members.artifact != self.artifact:
            raise ModelError(
                f"members: their certificates are about the model {members.artifact}, the guard is "
                f"about {self.artifact}; take both files from one run's folder"
            )
        if members.images.shape[1:] != self.image_shape:
            raise ModelError(
                f"members: images of shape {members.images.shape[1:]}, the guard has "
                f"{self.image_shape}; take both files from one run's folder"
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
        inputs = self.inputs(images)
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
            self.inputs(images),
            [None if answer.answered else answer for answer in answers],
            references,
            self.names,
        )
        send(forms, to)
        return forms

    @property
    def names(self) -> dict[str, str]:
        """By which forms name the guard."""
        return {
            "artifact": self.artifact,
            "guard": self.digest,
            "radius": str(self.radius.value),
        }

    def inputs(self, images: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """What the file reads for images.

        Raises:
            DataError: another shape or dtype.
        """
        if images.dtype not in (np.uint8, np.float32) or images.shape[1:] != self.image_shape:
            raise DataError(
                f"images: shape {images.shape}, dtype {images.dtype}; (N, "
                f"{', '.join(map(str, self.image_shape))}) of uint8, or of float32 in [0, 1], is "
                "expected"
            )
        return encode(images)


def _no_guard(why: str) -> ModelError:
    return ModelError(
        f"the file is no guard's ({FORMAT}), {why}; make one with asi_verify.build_guard"
    )


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
