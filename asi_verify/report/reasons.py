"""Why a sample has no certificate that counts, in words."""

from __future__ import annotations

from typing import Any

__all__ = ["why_not_proved"]


def why_not_proved(sample: dict[str, Any], *, contradicted: bool) -> str:
    """The reason, from what an examination wrote of the sample.

    Args:
        sample: its entry, with ``accepted`` and the verdict.
        contradicted: whether it is in a listed contradiction.
    """
    if contradicted:
        reason = "contradiction: no model can be right on both images"
        return reason + ("; this one's own region is proved" if sample["accepted"] else "")
    if sample["verdict"] == "refuted":
        return f"counterexample found by {sample['found_by']}"
    if sample["verdict"] == "proved":
        return "delegated: a solver's word, which the checker cannot confirm"
    return ": ".join(text for text in (sample["reason"], sample["detail"]) if text)
