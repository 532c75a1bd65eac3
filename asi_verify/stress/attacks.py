"""Attacks by code that is not ours: the Adversarial Robustness Toolbox, in several norms.

What an attack returns is a claim. Inside claimed regions it is drawn back to the nearest member and
answered by ONNX Runtime; only that counts. The toolbox is a dependency of the extra ``stress``.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from asi_verify.core.images import encode
from asi_verify.core.properties import Property
from asi_verify.errors import UsageError
from asi_verify.stress.claimed import Alarm, Claimed, Trial

__all__ = ["Attack", "attack_library_version", "attacked", "default_attacks"]

_METHODS = ("apgd", "square")
_NORMS = ("inf", "2", "1")
_BATCH = 128


@dataclass(frozen=True)
class Attack:
    """One attack of the toolbox at one strength.

    Attributes:
        method: ``"apgd"``: projected gradient descent that adapts its steps (Croce and Hein 2020);
            ``"square"``: random search without gradients (Andriushchenko et al. 2020).
        norm: ``"inf"``, ``"2"`` or ``"1"``; of ``"square"`` the first alone, for in the others the
            toolbox divides by 0 on images of one colour.
        reach: how much larger the attack's balls are than those that just cover the regions.
        steps: of an attempt.
        restarts: attempts from random starts.

    Raises:
        UsageError: a method or a norm that is not known, or a strength that is none.
    """

    method: str
    norm: str
    reach: float = 1.0
    steps: int = 100
    restarts: int = 5

    def __post_init__(self) -> None:
        if self.method not in _METHODS:
            raise UsageError(f"method: {self.method!r}; one of {', '.join(_METHODS)} is expected")
        if self.norm not in _NORMS or (self.method == "square" and self.norm != "inf"):
            raise UsageError(f"norm: {self.norm!r} is none that {self.method} knows")
        if not self.reach > 0 or self.steps < 1 or self.restarts < 1:
            raise UsageError(
                f"{self}: a reach above 0, and at least one step and one start, are expected"
            )

    @property
    def name(self) -> str:
        """For tables."""
        return f"{self.method}, norm {self.norm}, {self.reach:g} times the radius"

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        return asdict(self)


def default_attacks() -> tuple[Attack, ...]:
    """What a battery tries: inside the regions in three norms, and just outside of them."""
    inside = [Attack("apgd", norm) for norm in _NORMS]
    blind = Attack("square", "inf", steps=1000, restarts=1)
    return (*inside, blind, Attack("apgd", "inf", reach=2.0), Attack("apgd", "inf", reach=4.0))


def attack_library_version() -> str | None:
    """The toolbox's version; None where it is not installed."""
    try:
        return importlib.metadata.version("adversarial-robustness-toolbox")
    except importlib.metadata.PackageNotFoundError:
        return None


def attacked(attack: Attack, claimed: Claimed, seed: int) -> tuple[Trial, list[Alarm]]:
    """Attack every sample; with a reach of 1 or less, inside its region.

    The toolbox is given the smallest margin of each sample's property as a classifier of two
    classes. Its balls are the smallest that cover the regions' boxes; regions that are no boxes are
    attacked by what of its points is left after drawing them to the nearest member.

    Args:
        attack: which.
        claimed: what is claimed.
        seed: for its random starts.

    Raises:
        UsageError: the toolbox is not installed.
    """
    box, centres = claimed.family.boxes(claimed.images), encode(claimed.images)
    width = float(np.maximum(box.upper - centres, centres - box.lower).max())
    points = centres.copy()
    for wanted, places in claimed.groups():
        module = _Margin(claimed.artifact.module, wanted)
        points[places] = _candidates(attack, module, centres[places], width, seed)
    if attack.reach <= 1:
        return claimed.judge(attack.name, claimed.family.project(points, claimed.images))
    kept = claimed.margins(points) > 0
    return Trial(attack.name, False, len(kept), int(kept.sum())), []


class _Margin(nn.Module):
    """A property as a classifier: class 1, that it holds, has its smallest margin as the logit."""

    def __init__(self, module: nn.Module, wanted: Property) -> None:
        super().__init__()
        self.module = module
        self.register_buffer("rows", torch.from_numpy(wanted.rows().astype(np.float32)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        margin = (self.module(x) @ self.rows.T).amin(dim=1, keepdim=True)
        return torch.cat([torch.zeros_like(margin), margin], dim=1)


def _candidates(
    attack: Attack, module: nn.Module, centres: npt.NDArray[np.float32], width: float, seed: int
) -> npt.NDArray[np.float32]:
    """What the toolbox believes to be adversarial, in [0, 1]; the centre where it found nothing."""
    art = _Toolbox()
    classifier = art.classifier(
        model=module,
        loss=nn.CrossEntropyLoss(),
        input_shape=centres.shape[1:],
        nb_classes=2,
        clip_values=(0.0, 1.0),
        device_type="cpu",
    )
    size = centres[0].size
    eps = attack.reach * width * {"inf": 1.0, "2": size**0.5, "1": float(size)}[attack.norm]
    common: dict[str, Any] = {
        "estimator": classifier,
        "norm": np.inf if attack.norm == "inf" else int(attack.norm),
        "eps": eps,
        "batch_size": _BATCH,
        "max_iter": attack.steps,
        "verbose": False,
    }
    if attack.method == "square":
        made = art.square(**common, nb_restarts=attack.restarts)
    else:
        made = art.apgd(
            **common, eps_step=2 * eps, nb_random_init=attack.restarts, loss_type="cross_entropy"
        )
    holds = np.tile(np.array([0, 1], dtype=np.float32), (len(centres), 1))
    with _seeded(seed):
        found = np.asarray(made.generate(x=centres, y=holds))
    return np.clip(np.where(np.isfinite(found), found, centres), 0, 1).astype(np.float32)


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """The global generators that the toolbox draws from, set and put back."""
    before = np.random.get_state()  # noqa: NPY002  # the toolbox draws from it
    np.random.seed(seed)  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        np.random.set_state(before)  # noqa: NPY002


class _Toolbox:
    """What is used of the toolbox.

    Raises:
        UsageError: it is not installed.
    """

    def __init__(self) -> None:
        try:
            from art.attacks.evasion import AutoProjectedGradientDescent, SquareAttack
            from art.estimators.classification import PyTorchClassifier
        except ImportError:
            raise UsageError(
                "attacks: the Adversarial Robustness Toolbox is not installed; "
                "pip install 'asi-verify[stress]', or leave the attacks out"
            ) from None
        self.apgd: Any = AutoProjectedGradientDescent
        self.square: Any = SquareAttack
        self.classifier: Any = PyTorchClassifier
