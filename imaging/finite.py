"""Whether all numbers of an array are finite, found out in one pass where they are.

array --sum--> finite: yes
               else (NaN or infinity in it, or an overflow) --each--> yes or no
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def all_finite(array: NDArray[Any]) -> bool:
    """Whether an array of real numbers of any shape holds no NaN and no infinity.

    A sum is finite only if all that was added is. It is one call, which needs no memory; with other threads waiting,
    each call of numpy costs more than its arithmetic.
    """
    if array.dtype.kind != "f":
        return True
    with np.errstate(all="ignore"):
        return bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())
