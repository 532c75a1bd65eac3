"""Proposals: bounds that are likely right, computed fast. The trusted pass decides."""

from asi_verify.bounds.backward_twin import BackwardTwin, Optimised
from asi_verify.bounds.crown_ibp import crown_ibp_margins
from asi_verify.bounds.engine import proposer_for
from asi_verify.bounds.method import Method, Proposer
from asi_verify.bounds.open_network import OpenNetwork
from asi_verify.bounds.twin import TwinIntervals, interval_margins

__all__ = [
    "BackwardTwin",
    "Method",
    "OpenNetwork",
    "Optimised",
    "Proposer",
    "TwinIntervals",
    "crown_ibp_margins",
    "interval_margins",
    "proposer_for",
]
