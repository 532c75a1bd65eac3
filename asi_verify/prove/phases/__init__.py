"""Branch and bound over the phases of ReLUs; begin with ``search``."""

from asi_verify.prove.phases.search import PhaseSearch

__all__ = ["PhaseSearch"]
