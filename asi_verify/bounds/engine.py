"""Which engine proposes: auto_LiRPA where it is installed and can, else none."""

from __future__ import annotations

import logging

from asi_verify.bounds.method import Method, Proposer
from asi_verify.core.network import Network
from asi_verify.errors import EngineUnavailableError, UnsupportedOperatorError

__all__ = ["proposer_for"]

_log = logging.getLogger(__name__)


def proposer_for(network: Network, method: Method, device: str = "cpu") -> Proposer | None:
    """A proposer for a network and a method, or None if no engine has one.

    Without one the trusted pass is asked directly, which changes the time and no verdict.

    Raises:
        ParityError: the engine's form of the network is another function.
    """
    # auto_LiRPA and torch load when a proposal is first needed.
    from asi_verify.bounds.lirpa import LirpaProposer

    try:
        return LirpaProposer(network, method, device)
    except (EngineUnavailableError, UnsupportedOperatorError) as error:
        _log.info("no proposals by %s: %s", method.value, error)
        return None
