"""Branch and bound: regions are divided until every part is proved or one refutes.

Queries in which few inputs vary are divided across the inputs (``prove.input_splitting``), others
by the phases of ReLUs (``prove.phases``). The evidence is the split tree.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from asi_verify.checker.split_tree import margins_over
from asi_verify.core.canonical import bytes_digest
from asi_verify.core.clauses import FEW_INPUTS, Clauses
from asi_verify.core.evidence import Intermediate, TreeEvidence
from asi_verify.core.limits import LARGEST_TREE
from asi_verify.core.split_tree import SplitTree
from asi_verify.core.verdict import Proved, Reason, Undecided, Verdict
from asi_verify.prove.input_splitting import InputSearch
from asi_verify.prove.phases import PhaseSearch
from asi_verify.prove.stage import Batch, Stage, StageResult, varying
from asi_verify.prove.twins import twin_for

__all__ = ["Branch", "clause_by_clause"]


def clause_by_clause(batch: Batch, few_inputs: int = FEW_INPUTS) -> tuple[Batch, ...]:
    """A query as queries of one clause each, where that is quicker; together they say the same.

    A tree of phases is as large as all the clauses ask for together, and each of them asks for
    other phases. Where inputs are cut, most of the work is the same for all clauses.

    Args:
        batch: of clauses; any other is left as it is.
        few_inputs: where so few vary, the clauses stay together.
    """
    property_ = batch.property_
    if not isinstance(property_, Clauses) or int(varying(batch.box).sum()) <= few_inputs:
        return (batch,)
    return tuple(replace(batch, property_=part) for part in property_.parts())


@dataclass(frozen=True)
class Branch(Stage):
    """Branch and bound with evidence that the checker accepts by itself.

    Attributes:
        most_leaves: of one sample's tree; a budget, small because every sample of a data set that
            no cheaper stage settles comes here.
        steps: of the optimiser, for a whole region; a part of one begins with what was found for
            its whole and takes 8 at most.
        few_inputs: if up to so many vary, inputs are cut instead of phases.
        most_bytes: of one sample's tree when written, the evidence that a data set may cost.
        solve_leaves: in parts with up to so many open phases, of networks that are small, the
            patterns of phases are gone through, and conflicts between them learnt; 0 for nowhere.
            A part that is settled so counts as one, however large its tree.
        confirms: whether a whole tree is bounded once more before it counts. Its leaves were, in
            other batches; whoever gives the tree to the checker next can do without.
        device: where the twin computes.
    """

    most_leaves: int = 16
    steps: int = 20
    few_inputs: int = FEW_INPUTS
    most_bytes: int = 1 << 20
    solve_leaves: int = 0
    confirms: bool = True
    device: str = "cpu"
    name: str = "branch"

    def attempt(self, batch: Batch) -> StageResult:
        if batch.reach is not None:  # both searches know boxes alone
            return StageResult((None,) * len(batch))
        verdicts: list[Verdict | None] = []
        parts: dict[str, bytes] = {}
        declined = 0
        for some in batch.trusted.batches(len(batch)):
            given = batch.take(np.arange(len(batch))[some])
            search = self._search(given)
            if search is None:
                verdicts += [None] * len(given)
                continue
            search.run()
            found, trees = self._results(given, search)
            declined += found.count(None)
            declined += search.declined if isinstance(search, PhaseSearch) else 0
            verdicts += found
            parts.update(trees)
        return StageResult(tuple(verdicts), declined, parts)

    def _search(self, batch: Batch) -> InputSearch | PhaseSearch | None:
        if int(varying(batch.box).sum()) <= self.few_inputs:
            return InputSearch(batch, self.most_leaves)
        twin = twin_for(batch.artifact.network, self.device)
        if twin is None:
            return None
        return PhaseSearch(batch, twin, self.most_leaves, self.steps, self.solve_leaves)

    def _results(
        self, batch: Batch, search: InputSearch | PhaseSearch
    ) -> tuple[list[Verdict | None], dict[str, bytes]]:
        """A verdict for each sample, None if its tree is declined; and the trees of the proved."""
        verdicts = list(search.verdicts)
        trees: dict[int, bytes] = {}
        for sample in [sample for sample, verdict in enumerate(verdicts) if verdict is None]:
            data = search.tree(sample).to_bytes()
            if len(data) > min(self.most_bytes, LARGEST_TREE):
                verdicts[sample] = Undecided(Reason.BUDGET, f"a split tree of {len(data)} bytes")
            else:
                trees[sample] = data
        margins = np.full(len(trees), np.inf)
        if self.confirms:
            margins = margins_over(
                batch.trusted,
                search.root.take(np.array(list(trees), dtype=np.intp)),
                batch.property_,
                Intermediate.BACKWARD,
                [SplitTree.from_bytes(data) for data in trees.values()],
            )
        parts: dict[str, bytes] = {}
        for (sample, data), margin in zip(trees.items(), margins, strict=True):
            if margin > 0:
                evidence = TreeEvidence(Intermediate.BACKWARD, bytes_digest(data))
                verdicts[sample], parts[evidence.tree] = Proved(evidence), data
        return verdicts, parts
