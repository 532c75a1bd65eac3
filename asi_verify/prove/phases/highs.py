"""Linear programmes, solved by HiGHS; it is loaded with the first, for most searches need none."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from scipy.optimize import OptimizeResult

__all__ = ["minimised"]


def minimised(
    cost: npt.NDArray[np.float64],
    matrix: Any,
    limits: npt.NDArray[np.float64],
    bounds: npt.NDArray[np.float64],
) -> OptimizeResult:
    """Minimise ``cost @ x`` where ``matrix @ x <= limits``, each ``x`` between its bounds.

    Args:
        cost: shape ``(n,)``.
        matrix: shape ``(m, n)``, an array or a sparse one.
        limits: shape ``(m,)``.
        bounds: shape ``(n, 2)``, infinite where there is none.

    Returns:
        What ``scipy.optimize.linprog`` returns; ``status`` is 0 where it is solved.
    """
    from scipy.optimize import linprog

    return linprog(cost, A_ub=matrix, b_ub=limits, bounds=bounds, method="highs")
