"""Artifacts: one ONNX file, named by its SHA-256, with its network and its session."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import nn

from asi_verify.checker import TrustedPass
from asi_verify.core.canonical import bytes_digest
from asi_verify.core.network import Network
from asi_verify.core.semantics import Semantics
from asi_verify.export.parity import Parity, require_parity
from asi_verify.export.torch_module import NetworkModule
from asi_verify.lowering import read_network, write_artifact
from asi_verify.runtime import Session

__all__ = ["Artifact"]


@dataclass(frozen=True, eq=False)
class Artifact:
    """A model as it is deployed and as it is proved about.

    Attributes:
        data: the ONNX file's bytes.
        network: what they mean.
        session: ONNX Runtime with these bytes.
        parity: how closely the forms agreed at the gate.
        read: how the network follows from the bytes.
    """

    data: bytes
    network: Network
    session: Session
    parity: Parity
    read: Callable[[bytes], Network] = read_network

    @classmethod
    def from_bytes(
        cls,
        data: bytes,
        source: nn.Module | None = None,
        head: str | None = None,
        read: Callable[[bytes], Network] = read_network,
        threads: int = 0,
    ) -> Artifact:
        """Read an ONNX file and pass the parity gate.

        Args:
            data: the file's bytes, taken as they are.
            source: a torch module that the file must agree with too.
            head: the softmax or sigmoid that the module ends in and the file does not, if any.
            read: how the network follows from the bytes.
            threads: of ONNX Runtime; 0 lets it choose.

        Raises:
            ModelError: it cannot be read.
            UnsupportedOperatorError: an operator has no trusted rule.
            ParityError: the forms disagree.
        """
        network = read(data)
        reals = TrustedPass(network, Semantics.REAL)
        session = Session(data, network.head, threads)
        parity = require_parity(reals, session, source, head)
        return cls(data, network, session, parity, read)

    @classmethod
    def from_network(cls, network: Network, source: nn.Module | None = None) -> Artifact:
        """Write a network (constants exact in float32) canonically and pass the parity gate.

        What is written answers with the logits: a head is left out.
        """
        return cls.from_bytes(write_artifact(network), source, network.head)

    def trusted(self, semantics: Semantics) -> TrustedPass:
        """The trusted pass over the network under some semantics; built once.

        Raises:
            UnsupportedOperatorError: an operator has no rule under these semantics.
        """
        if semantics not in self._passes:
            self._passes[semantics] = TrustedPass(self.network, semantics)
        return self._passes[semantics]

    @cached_property
    def _passes(self) -> dict[Semantics, TrustedPass]:
        return {}

    def __reduce__(self) -> tuple[Any, ...]:
        """On its way to another process it is its bytes; there it passes the gate again."""
        return _received, (self._numbers, self.read)

    @cached_property
    def _numbers(self) -> npt.NDArray[np.uint8]:
        # Arrays are what processes can share without a copy.
        return np.frombuffer(self.data, np.uint8)

    @property
    def digest(self) -> str:
        """The SHA-256 of the file."""
        return bytes_digest(self.data)

    @cached_property
    def module(self) -> NetworkModule:
        """The torch form, generated from the network; for gradients and proposals."""
        return NetworkModule(self.network).eval()


def _received(numbers: npt.NDArray[np.uint8], read: Callable[[bytes], Network]) -> Artifact:
    return _kept(numbers.tobytes(), read)


@lru_cache(maxsize=2)
def _kept(data: bytes, read: Callable[[bytes], Network]) -> Artifact:
    """Read once, however many jobs are about it; every process has a core to itself."""
    return Artifact.from_bytes(data, read=read, threads=1)
