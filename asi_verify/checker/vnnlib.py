"""Check a proof folder of a VNN-LIB query from its files alone.

Nothing that the folder says is believed: the VNN-LIB text is read again, its cases are made again,
and every bound is derived again with the trusted pass.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from asi_verify.checker.folder import Outcome, Reader, reader_of
from asi_verify.checker.split_tree import margins_over, require_tree
from asi_verify.checker.trusted import Bounds, TrustedPass
from asi_verify.core.box import Box
from asi_verify.core.canonical import bytes_digest
from asi_verify.core.claims import ARTIFACT_FILE
from asi_verify.core.clauses import Clauses
from asi_verify.core.container import unpack
from asi_verify.core.evidence import (
    EnumerationEvidence,
    GridEvidence,
    Intermediate,
    IntervalEvidence,
    LinearEvidence,
    SolverEvidence,
    TreeEvidence,
    part_of,
)
from asi_verify.core.limits import LARGEST_PASS, LONGEST_REASON
from asi_verify.core.network import Network, Node
from asi_verify.core.operators import Operator, largest_step
from asi_verify.core.smooth import Sigmoid, Softmax
from asi_verify.core.split_tree import SplitTree
from asi_verify.core.vnnlib_proof import PARTS_FILE, PROOF_FILE, PROPERTY_FILE, VnnlibProof
from asi_verify.errors import AsiVerifyError, CertificateError, ModelError, PropertyError
from asi_verify.lowering import read_network
from asi_verify.lowering.vnnlib import Specification, read_vnnlib

__all__ = [
    "Roots",
    "VnnlibCheck",
    "boxes_of",
    "check_vnnlib",
    "check_vnnlib_files",
    "is_vnnlib_folder",
    "network_of",
    "require_fit",
]


@dataclass(frozen=True)
class VnnlibCheck:
    """What the checker found in a proof folder.

    Attributes:
        proof: what the folder claims.
        outcome: of all cases together: rejected if one is, else delegated if one is.
        reason: why it was not accepted.
    """

    proof: VnnlibProof
    outcome: Outcome
    reason: str

    @property
    def holds(self) -> bool:
        """Whether every case was accepted."""
        return self.outcome is Outcome.ACCEPTED


def is_vnnlib_folder(folder: str | Path) -> bool:
    """Whether a folder has the main file of a VNN-LIB proof."""
    return (Path(folder) / PROOF_FILE).is_file()


def check_vnnlib(folder: str | Path) -> VnnlibCheck:
    """Check a proof folder.

    Args:
        folder: holds ``proof.json``, ``artifact.onnx``, ``property.vnnlib`` and, where something is
            binary, ``proof.bin``.

    Raises:
        CertificateError: there is no ``proof.json``, or it cannot be read.
    """
    return check_vnnlib_files(reader_of(folder), str(Path(folder) / PROOF_FILE))


def check_vnnlib_files(read: Reader, name: str = PROOF_FILE) -> VnnlibCheck:
    """``check_vnnlib`` for files that lie elsewhere than in a folder; errors name the proof so."""
    proof = VnnlibProof.from_bytes(read(PROOF_FILE), name)
    try:
        outcome, reason = _checked(read, proof)
    except AsiVerifyError as error:
        outcome, reason = Outcome.REJECTED, str(error)
    return VnnlibCheck(proof, outcome, reason[:LONGEST_REASON])


def network_of(artifact: bytes) -> Network:
    """The network of an ONNX file as a VNN-LIB file speaks of it.

    Its output is a vector, in C order. A trailing softmax or sigmoid is part of it: constants are
    compared with what the ONNX file answers, which are not logits.

    Raises:
        ModelError: the file cannot be read, or ends in what has no trusted rule there.
    """
    return _with_head(read_network(artifact)).flattened()


def require_fit(asked: Specification, network: Network) -> None:
    """Refuse a specification that is not one for a network.

    Raises:
        PropertyError: other numbers of inputs or outputs are declared, or there are so many
            constraints that a backward pass would need too much memory.
    """
    sizes = math.prod(network.input_shape), math.prod(network.output_shape)
    if sizes != (asked.inputs, asked.outputs):
        raise PropertyError(
            f"the property is about {asked.inputs} inputs and {asked.outputs} outputs, the model "
            f"has {sizes[0]} and {sizes[1]}"
        )
    step = max(
        largest_step(node.operator, *(network.shapes[value] for value in node.inputs))
        for node in network.nodes
    )
    rows = max((len(wanted.rows()) for wanted in asked.properties), default=0)
    if step * rows > LARGEST_PASS:
        raise PropertyError(
            f"{rows} constraints on the outputs of a network with up to {step} numbers in one step "
            f"are too many for a backward pass, which may hold {LARGEST_PASS}; divide the property"
        )


def boxes_of(asked: Specification, network: Network) -> Box:
    """The boxes of all cases in the form of the network's input, ``(cases, *input_shape)``."""
    shape = (len(asked), *network.input_shape)
    return Box(asked.box.lower.reshape(shape), asked.box.upper.reshape(shape))


Way = IntervalEvidence | LinearEvidence | Intermediate
"""Which pass to make; for a split tree, how the bounds over its whole region are obtained."""


class Roots:
    """Bounds over whole regions. Those of one region are kept: often it is that of all cases.

    Args:
        trusted: makes them.
    """

    def __init__(self, trusted: TrustedPass) -> None:
        self.trusted = trusted
        self._kept: dict[Intermediate, tuple[bytes, Bounds]] = {}

    def bounds(self, box: Box, intermediate: Intermediate) -> Bounds:
        """Of every value, over a batch of boxes."""
        if len(box) > 1:
            return self.trusted.bounds(box, intermediate)
        ends = box.lower.tobytes() + box.upper.tobytes()
        if intermediate not in self._kept or self._kept[intermediate][0] != ends:
            self._kept[intermediate] = ends, self.trusted.bounds(box, intermediate)
        return self._kept[intermediate][1]

    def margins(
        self, box: Box, wanted: Clauses, way: Way, trees: Sequence[SplitTree] = ()
    ) -> npt.NDArray[np.float64]:
        """A lower bound on the property over each box; ``trees`` has one for each if they count."""
        result = np.empty(len(box))
        for part in self.trusted.batches(len(box)):
            if isinstance(way, Intermediate):
                root = self.bounds(box[part], way)
                result[part] = margins_over(self.trusted, root, wanted, way, trees[part])
            else:
                root = self.bounds(box[part], way.intermediate)
                to_input = isinstance(way, LinearEvidence)
                result[part] = wanted.overall(self.trusted.rows(root, wanted, to_input=to_input))
        return result


def _with_head(network: Network) -> Network:
    last: Operator
    match network.head:
        case None:
            return network
        case "softmax":
            last = Softmax(0)
        case "sigmoid":
            last = Sigmoid()
        case name:
            raise ModelError(
                f"the model ends in {name}, whose values cannot be bounded; take it out of the "
                "model and ask about the logits"
            )
    return Network(network.input_shape, (*network.nodes, Node(last, (network.output,))))


def _checked(read: Reader, proof: VnnlibProof) -> tuple[Outcome, str]:
    artifact = _claimed(read, ARTIFACT_FILE, proof.artifact)
    asked = read_vnnlib(_claimed(read, PROPERTY_FILE, proof.property_))
    network = network_of(artifact)
    require_fit(asked, network)
    parts = {} if proof.container is None else unpack(_claimed(read, PARTS_FILE, proof.container))
    if {part_of(case.evidence) for case in proof.cases} - {None} != set(parts):
        raise CertificateError("the binary parts are not those that the evidence names")
    if len(proof.cases) != len(asked):
        raise CertificateError(f"evidence for {len(proof.cases)} cases; there are {len(asked)}")
    trusted = TrustedPass(network, proof.semantics)
    boxes = boxes_of(asked, network)
    delegated = ""
    groups: dict[tuple[Clauses, Way], list[_Asked]] = defaultdict(list)
    for number, (case, wanted) in enumerate(zip(proof.cases, asked.properties, strict=True)):
        if case.case != asked.digest(number):
            raise CertificateError(f"case {number} is about another box or property")
        if isinstance(case.evidence, SolverEvidence):
            word = f"{case.evidence.solver} {case.evidence.version}"
            delegated = f"case {number}: the word of {word}"
            continue
        way, tree = _way(trusted, number, case.evidence, wanted, parts)
        groups[wanted, way].append(_Asked(number, tree))
    roots = Roots(trusted)
    for (wanted, way), members in groups.items():
        some = boxes[[member.case for member in members]]
        trees = [member.tree for member in members if member.tree is not None]
        margins = roots.margins(some, wanted, way, trees)
        for member, margin in zip(members, margins, strict=True):
            if not margin > 0:
                why = f"the bound does not close: the smallest margin is only above {margin:g}"
                return Outcome.REJECTED, f"case {member.case}: {why}"
    return (Outcome.DELEGATED, delegated) if delegated else (Outcome.ACCEPTED, "")


class _Asked(NamedTuple):
    """A case, and the tree that its evidence is, if it is one."""

    case: int
    tree: SplitTree | None


def _way(
    trusted: TrustedPass,
    case: int,
    evidence: IntervalEvidence | LinearEvidence | TreeEvidence | EnumerationEvidence | GridEvidence,
    wanted: Clauses,
    parts: dict[str, bytes],
) -> tuple[Way, SplitTree | None]:
    """Which pass the evidence asks for."""
    match evidence:
        case TreeEvidence(intermediate=intermediate, tree=name):
            tree = SplitTree.from_bytes(parts[name])
            require_tree(trusted, wanted, tree)
            return intermediate, tree
        case EnumerationEvidence() | GridEvidence():
            raise CertificateError(f"case {case}: the inputs of a box are not enumerated")
        case _:
            return evidence, None


def _claimed(read: Reader, name: str, digest: str) -> bytes:
    """A file's bytes, which must be the ones that are claimed."""
    data = read(name)
    if bytes_digest(data) != digest:
        raise CertificateError(
            f"{name} has the digest {bytes_digest(data)}, the proof is about {digest}"
        )
    return data
