"""``solve_vnnlib``: a VNN-LIB query answered, from its files to a checked proof or a witness.

Cheap ways come first and load nothing but numpy, onnx and ONNX Runtime; torch, the bound engine and
the solver are loaded when they do not suffice. No answer rests on who found it: ``sat`` is asked of
ONNX Runtime and of the file's own assertions, ``unsat`` of the checker.
"""

from __future__ import annotations

import itertools
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property, lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from asi_verify._provenance import versions
from asi_verify.checker import Outcome, TrustedPass, check_vnnlib_files
from asi_verify.checker.vnnlib import Roots, boxes_of, network_of, require_fit
from asi_verify.core.box import Box
from asi_verify.core.canonical import bytes_digest
from asi_verify.core.claims import ARTIFACT_FILE
from asi_verify.core.clauses import Clauses
from asi_verify.core.container import pack
from asi_verify.core.cores import require_cores
from asi_verify.core.evidence import (
    Evidence,
    Intermediate,
    IntervalEvidence,
    LinearEvidence,
    SolverEvidence,
    part_of,
)
from asi_verify.core.limits import LARGEST_ARTIFACT, LARGEST_VNNLIB
from asi_verify.core.semantics import Semantics
from asi_verify.core.verdict import Proved, Reason, Undecided, Witness
from asi_verify.core.vnnlib_proof import (
    PARTS_FILE,
    PROOF_FILE,
    PROPERTY_FILE,
    CaseProof,
    VnnlibProof,
)
from asi_verify.errors import (
    CertificateError,
    ModelError,
    PropertyError,
    SoundnessAlarm,
    UsageError,
)
from asi_verify.lowering import write_artifact
from asi_verify.lowering.files import FileLike, naming, read_file
from asi_verify.lowering.vnnlib import Specification, read_vnnlib
from asi_verify.prove.corners import corner_search
from asi_verify.prove.rule_descent import rule_descent
from asi_verify.runtime import Session

if TYPE_CHECKING:
    from asi_verify.export import Artifact
    from asi_verify.prove import Stage
    from asi_verify.prove.boxes import Ahead, Boxes

__all__ = [
    "Answer",
    "VnnlibResult",
    "VnnlibWitness",
    "solve_vnnlib",
]

_MOST_FOR_CROWN = 1 << 12
"""Numbers of all values of a network for which CROWN is tried before an engine is loaded."""

_CORNER_NUMBERS = 1 << 18
"""Of all values, in the runs of the search at corners that one start makes."""

_MOST_CLAIMED = 64
"""Points of one search that it claims and the text does not confirm: ties, say."""

_NAMES = frozenset({ARTIFACT_FILE, PROOF_FILE, PROPERTY_FILE, PARTS_FILE})

_RESERVED = 0.15
"""Of the time that is allowed, the share that is left for checking the proof."""

_MOST_BESIDE = 64
"""Cases that a stage may begin with beside the stage before it."""

_ENCLOSED = 8
"""Centres at which ONNX Runtime is compared with the trusted pass."""


class Answer(Enum):
    """The answer to a VNN-LIB query, in the competition's words."""

    SAT = "sat"
    """A counterexample exists; one is given."""

    UNSAT = "unsat"
    """None exists; the checker accepted a proof."""

    TIMEOUT = "timeout"
    """The time was used up."""

    UNKNOWN = "unknown"
    """Nothing was found, and time is left."""


@dataclass(frozen=True, eq=False)
class VnnlibWitness:
    """A point of the unsafe set.

    Attributes:
        inputs: float32, shape ``(inputs,)``, in C order over the model's input.
        outputs: what ONNX Runtime (CPU, its own settings) answers, float32, shape ``(outputs,)``.
        read_as_float32: how many inputs at most have no float32 number between their decimals, so
            that they are the float32 number that a decimal is read as.
    """

    inputs: npt.NDArray[np.float32]
    outputs: npt.NDArray[np.float32]
    read_as_float32: int

    def __str__(self) -> str:
        """The competition's form: one list of pairs, every number written out exactly."""
        pairs = [
            f"({name}_{number} {float(value)!r})"
            for name, values in (("X", self.inputs), ("Y", self.outputs))
            for number, value in enumerate(values)
        ]
        return "(" + "\n ".join(pairs) + ")"


@dataclass(frozen=True, eq=False)
class VnnlibResult:
    """The answer to a VNN-LIB query.

    Attributes:
        answer: which of the four.
        reason: why it is not one of the first two; else how it was found.
        seconds: wall time, from reading the files to the checked answer.
        witness: with ``sat``.
        files: with ``unsat``, the proof folder's files by name, for the checker.
    """

    answer: Answer
    reason: str
    seconds: float
    witness: VnnlibWitness | None = None
    files: Mapping[str, bytes] = field(default_factory=dict)

    def save(self, folder: str | Path) -> None:
        """Write the proof folder of an ``unsat``.

        Raises:
            UsageError: there is no proof, or other things are in the folder, such as the proof of
                another query.
        """
        if not self.files:
            raise UsageError(f"the answer is {self.answer.value}: there is no proof to write")
        place = Path(folder)
        refuse_other_things(place)
        refuse_other_query(place, self.files[ARTIFACT_FILE], self.files[PROPERTY_FILE])
        place.mkdir(parents=True, exist_ok=True)
        # The main file goes first and comes last: without it, what lies there is no proof.
        for name in sorted(_NAMES, key=lambda name: name != PROOF_FILE):
            (place / name).unlink(missing_ok=True)
        for name in sorted(self.files, key=lambda name: name == PROOF_FILE):
            (place / name).write_bytes(self.files[name])


def refuse_other_things(folder: Path, own: frozenset[str] = _NAMES) -> None:
    """Refuse a place that is a file or below one, or a folder with other things than its own."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise UsageError(f"{there} is a file; name a new folder")
    if folder.is_dir() and {path.name for path in folder.iterdir()} - own:
        raise UsageError(f"{folder}: there are other things in it; name a new folder")


def refuse_other_query(folder: Path, model: bytes, property_: bytes) -> None:
    """Refuse a folder with the proof of another query, which would pass for an answer to this."""
    for name, data in ((ARTIFACT_FILE, model), (PROPERTY_FILE, property_)):
        if (folder / name).is_file() and (folder / name).read_bytes() != data:
            raise UsageError(f"{folder} holds the proof of another query; name a new folder")


def require_timeout(timeout: float | None) -> None:
    """Refuse a time that is not above 0; None stands for no limit."""
    if timeout is not None and not timeout > 0:
        raise UsageError(f"timeout: {timeout}; more than 0 seconds are expected")


def solve_vnnlib(
    model: FileLike,
    property_: FileLike,
    *,
    timeout: float | None = 60.0,
    semantics: Semantics | str = Semantics.FLOAT32,
    stages: Sequence[Stage] | None = None,
    cores: int = 1,
) -> VnnlibResult:
    """Answer a VNN-LIB query: does a point of the file's unsafe set exist?

    Args:
        model: the path of an ONNX file, or its bytes; gzip's is unpacked.
        property_: the path of a VNN-LIB 1 file, or its bytes; gzip's is unpacked.
        timeout: seconds after which no further stage is begun; None for no limit.
        semantics: ``"float32"``: a runtime's rounding is covered by ``unsat``; ``"real"``: exact
            arithmetic on the model's weights, which is what the competition asks.
        stages: of the cascade, after what needs no engine (``prove.single_query_stages()``).
        cores: processes that share long searches; for short ones none is started.

    Returns:
        ``sat`` with a witness that ONNX Runtime confirmed on the file itself; ``unsat`` with a
        proof that the checker accepted; or neither, with the reason.

    Raises:
        UsageError: a file cannot be read or is not supported; see its subclasses.
        SoundnessAlarm: the checker rejects a proof that was just made, or ONNX Runtime answers what
            the semantics do not allow.

    What is not promised: an answer within the time, since a stage that has begun is not stopped by
    all means; under real semantics, the rounding of any runtime.
    """
    started = time.monotonic()
    require_cores(cores)
    arithmetic = Semantics.of(semantics)
    require_timeout(timeout)
    text = read_file(property_, LARGEST_VNNLIB, PropertyError)
    with naming(property_):
        asked = read_vnnlib(text)
    data = read_file(model, LARGEST_ARTIFACT, ModelError)
    with naming(model):
        subject = _subject(data)
    require_fit(asked, subject.network)
    deadline = None if timeout is None else started + (1 - _RESERVED) * timeout
    return _Search(subject, asked, text, arithmetic, started, deadline, cores).answer(stages)


@lru_cache(maxsize=2)
def _subject(artifact: bytes) -> _Subject:
    """The model of some bytes; a batch has few, and asks many questions of each."""
    return _Subject(artifact)


class _Subject:
    """A model in the forms that a query needs, each made when it is first asked for."""

    def __init__(self, artifact: bytes) -> None:
        self.data = artifact
        self.network = network_of(artifact)
        self._passes: dict[Semantics, TrustedPass] = {}

    @cached_property
    def session(self) -> Session:
        """ONNX Runtime with the file as float32 semantics cover it."""
        return Session(self.data)

    @cached_property
    def batched(self) -> Session:
        """One that takes many points at once, to search with: claims are asked of the others."""
        # A batch that something in the file fixes is seen when two are run.
        self.session.run(np.zeros((2, *self.network.input_shape), np.float32))
        if not self.session.has_fixed_batch:
            return self.session
        return Session(write_artifact(self.network.rounded()))

    @cached_property
    def usual(self) -> Session:
        """ONNX Runtime with the file as anybody else would load it."""
        return Session(self.data, usual=True)

    def trusted(self, semantics: Semantics) -> TrustedPass:
        """The trusted pass."""
        if semantics not in self._passes:
            self._passes[semantics] = TrustedPass(self.network, semantics)
        return self._passes[semantics]

    @cached_property
    def artifact(self) -> Artifact:
        """What the stages take, after the parity gate."""
        from asi_verify.export import Artifact, require_parity

        parity = require_parity(self.trusted(Semantics.REAL), self.session)
        return Artifact(self.data, self.network, self.session, parity, network_of)

    @property
    def numbers(self) -> int:
        """Of all values, for one input."""
        return sum(math.prod(shape) for shape in self.network.shapes)


class _Search:
    """One query: what is proved of its cases so far, and how an answer comes out of it."""

    def __init__(
        self,
        subject: _Subject,
        asked: Specification,
        text: bytes,
        semantics: Semantics,
        started: float,
        deadline: float | None,
        cores: int,
    ) -> None:
        self._cores = cores
        self._subject, self._asked, self._text = subject, asked, text
        self._semantics, self._started, self._deadline = semantics, started, deadline
        shape = (len(asked), *subject.network.input_shape)
        self._box = boxes_of(asked, subject.network)
        self._searched = Box(
            asked.searched.lower.reshape(shape), asked.searched.upper.reshape(shape)
        )
        self._roots = Roots(subject.trusted(semantics))
        self._evidence: dict[int, Evidence] = {}
        self._told: dict[int, Evidence] = {}
        self._parts: dict[str, bytes] = {}
        self._witness: VnnlibWitness | None = None
        self._open: Undecided | None = None

    def answer(self, stages: Sequence[Stage] | None) -> VnnlibResult:
        """The answer; cheap ways first."""
        self._require_enclosed()
        tried: list[Evidence] = []
        for evidence in self._quick_evidence():
            self._prove_directly(evidence)
            tried.append(evidence)
            if not self._left:
                return self._checked()
            if len(tried) == 2 and (way := self._found_quickly()) is not None:
                return self._result(Answer.SAT, way)
        self._prove_by_stages(stages, tried)
        if self._witness is not None:
            return self._result(Answer.SAT, "found by the cascade")
        if not self._left:
            return self._checked()
        return self._neither()

    @property
    def _left(self) -> list[int]:
        return [case for case in range(len(self._asked)) if case not in self._evidence]

    def _quick_evidence(self) -> list[IntervalEvidence | LinearEvidence]:
        ways: list[IntervalEvidence | LinearEvidence] = [
            IntervalEvidence(),
            LinearEvidence(Intermediate.INTERVAL),
        ]
        if self._subject.numbers <= _MOST_FOR_CROWN:
            ways.append(LinearEvidence(Intermediate.BACKWARD))
        return ways

    def _groups(self) -> dict[Clauses, list[int]]:
        """The open cases by their property."""
        groups: dict[Clauses, list[int]] = defaultdict(list)
        for case in self._left:
            groups[self._asked.properties[case]].append(case)
        return groups

    def _prove_directly(self, evidence: IntervalEvidence | LinearEvidence) -> None:
        for wanted, cases in self._groups().items():
            margins = self._roots.margins(self._box[cases], wanted, evidence)
            self._evidence |= {
                case: evidence for case, margin in zip(cases, margins, strict=True) if margin > 0
            }

    def _found_quickly(self) -> str | None:
        """How a counterexample was found before an engine is loaded; None if none was."""
        searches = (
            (self._descend, "found by a few steps along gradients"),
            (self._search_corners, "found without gradients"),
        )
        for search, way in searches:
            search()
            if self._witness is not None:
                return way
        return None

    def _descend(self) -> None:
        cases = self._left
        claimed = rule_descent(
            self._subject.trusted(self._semantics),
            self._subject.batched,
            self._searched[cases],
            [self._asked.properties[case] for case in cases],
            self._deadline,
        )
        for number, point in islice(claimed, _MOST_CLAIMED):
            if self._confirmed(cases[number], point):
                return

    def _search_corners(self) -> None:
        groups = max(1, min(1024, _CORNER_NUMBERS // self._subject.numbers))
        for case in self._left:
            if self._is_late:
                return
            claimed = corner_search(
                self._subject.batched,
                self._searched[[case]],
                self._asked.properties[case],
                self._deadline,
                groups,
            )
            if any(self._confirmed(case, point) for point in islice(claimed, _MOST_CLAIMED)):
                return

    def _prove_by_stages(self, stages: Sequence[Stage] | None, tried: Sequence[Evidence]) -> None:
        if self._is_late:
            self._open = Undecided(Reason.DEADLINE)
        if self._is_late or (stages is not None and not stages):
            return
        from asi_verify.prove import single_query_stages

        chosen = single_query_stages() if stages is None else tuple(stages)
        chosen = tuple(s for s in chosen if getattr(s, "evidence", None) not in tried)
        at_work: dict[Clauses, Ahead] = {}
        with ExitStack() as until_settled:
            # What is cheap is asked of every case before what is dear is asked of one.
            for stage, following in itertools.zip_longest(chosen, chosen[1:]):
                ready, at_work = at_work, {}
                if following is not None and len(self._left) <= _MOST_BESIDE:
                    at_work = self._begun(following, until_settled)
                for wanted, cases in self._groups().items():
                    self._ask(stage, wanted, cases, ready.get(wanted))
                    if self._witness is not None:
                        return
        self._evidence = self._told | self._evidence

    def _begun(self, stage: Stage, until_settled: ExitStack) -> dict[Clauses, Ahead]:
        """A stage at work on open cases of one property, if it can be while another is asked.

        Of one alone: each that is at work may take a solver's process of its own.
        """
        from asi_verify.prove.boxes import begun

        found = {}
        for wanted, cases in itertools.islice(self._groups().items(), 1):
            work = begun(self._boxes(wanted, cases), cases, stage)
            if work is not None:
                until_settled.enter_context(closing(work))
                found[wanted] = work
        return found

    def _ask(
        self, stage: Stage, wanted: Clauses, cases: list[int], ahead: Ahead | None = None
    ) -> None:
        """One stage about some cases of one property; it may have begun."""
        from asi_verify.prove.boxes import prove_boxes

        asked = self._boxes(wanted, cases)
        stages = (stage if ahead is None else ahead.stage(cases),)
        found = prove_boxes(asked, stages, partial(self._confirmed_of, cases))
        self._parts |= found.parts
        for case, verdict in zip(cases, found.verdicts, strict=True):
            match verdict:
                case Proved(SolverEvidence() as word):
                    # No proof yet: a later stage may find one.
                    self._told[case] = word
                case Proved(evidence):
                    self._evidence[case] = evidence
                case Undecided():
                    self._open = verdict

    def _boxes(self, wanted: Clauses, cases: list[int]) -> Boxes:
        from asi_verify.prove.boxes import Boxes

        return Boxes(
            self._subject.artifact,
            self._box[cases],
            self._searched[cases],
            wanted,
            self._semantics,
            tuple(int(self._asked.digest(case)[:16], 16) for case in cases),
            self._deadline,
            self._cores,
        )

    def _confirmed_of(self, cases: Sequence[int], row: int, witness: Witness) -> bool:
        return self._confirmed(cases[row], witness.point)

    def _confirmed(self, case: int, point: npt.NDArray[np.float32]) -> bool:
        """Ask the original question of a point that a search claims, moved to where it may lie.

        Both of ONNX Runtime's ways of running the file have to answer what the file calls unsafe.
        """
        lower, upper = self._searched.lower[[case]], self._searched.upper[[case]]
        inside = np.clip(point[None].astype(np.float32), lower, upper)
        flat = inside.reshape(-1)
        outputs = [s.run(inside)[0] for s in (self._subject.session, self._subject.usual)]
        if not self._asked.is_unsafe(flat, *outputs):
            return False
        self._witness = VnnlibWitness(flat, outputs[-1], self._asked.unreadable)
        return True

    def _require_enclosed(self) -> None:
        """In float32, ONNX Runtime's answers lie inside what the trusted pass allows."""
        if not len(self._asked):
            return
        some = self._searched[:_ENCLOSED]
        middle = 0.5 * (some.lower.astype(np.float64) + some.upper)
        points = np.clip(middle.astype(np.float32), some.lower, some.upper)
        answers = self._subject.session.run(points).astype(np.float64)
        trusted, at = self._subject.trusted(Semantics.FLOAT32), Box(points, points.copy())
        outside = False
        for part in trusted.batches(len(points)):
            bounds = trusted.bounds(at[part], Intermediate.INTERVAL)
            outside |= bool((bounds.sound & ~bounds.boxes[-1].contains(answers[part])).any())
        if outside:
            raise SoundnessAlarm(
                "ONNX Runtime's outputs lie outside what float32 arithmetic allows on this model: "
                "its runtime computes something else, or the analysis is wrong. Please report this "
                f"with the model {bytes_digest(self._subject.data)}"
            )

    @property
    def _is_late(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _checked(self) -> VnnlibResult:
        """``unsat``, if the checker accepts the proof from its files."""
        files = self._files()
        checked = check_vnnlib_files(_reader(files))
        match checked.outcome:
            case Outcome.ACCEPTED:
                return self._result(Answer.UNSAT, "the checker accepted the proof", files)
            case Outcome.DELEGATED:
                return self._result(Answer.UNKNOWN, f"no proof but {checked.reason}")
            case Outcome.REJECTED:
                raise SoundnessAlarm(
                    f"the checker rejects a proof that was just made: {checked.reason}. Please "
                    f"report this with the model {bytes_digest(self._subject.data)}"
                )

    def _files(self) -> dict[str, bytes]:
        """The proof folder."""
        evidence = [self._evidence[case] for case in range(len(self._asked))]
        named = {part_of(one) for one in evidence} - {None}
        parts = {name: data for name, data in self._parts.items() if name in named}
        files = {ARTIFACT_FILE: self._subject.data, PROPERTY_FILE: self._text}
        if parts:
            files[PARTS_FILE] = pack(parts)
        proof = VnnlibProof(
            bytes_digest(self._subject.data),
            bytes_digest(self._text),
            self._semantics,
            tuple(CaseProof(self._asked.digest(i), one) for i, one in enumerate(evidence)),
            bytes_digest(files[PARTS_FILE]) if parts else None,
            {"versions": versions()},
        )
        return {PROOF_FILE: proof.to_bytes(), **files}

    def _neither(self) -> VnnlibResult:
        verdict = self._open or Undecided(Reason.TOO_LOOSE)
        why = verdict.reason.value + (f" ({verdict.detail})" if verdict.detail else "")
        late = self._is_late or verdict.reason is Reason.DEADLINE
        detail = f"{len(self._left)} of {len(self._asked)} cases are open: {why}"
        return self._result(Answer.TIMEOUT if late else Answer.UNKNOWN, detail)

    def _result(
        self, answer: Answer, reason: str, files: Mapping[str, bytes] | None = None
    ) -> VnnlibResult:
        witness = self._witness if answer is Answer.SAT else None
        seconds = time.monotonic() - self._started
        return VnnlibResult(answer, reason, seconds, witness, files or {})


def _reader(files: Mapping[str, bytes]) -> Callable[[str], bytes]:
    def read(name: str) -> bytes:
        if name not in files:
            raise CertificateError(f"{name}: there is no such file")
        return files[name]

    return read
