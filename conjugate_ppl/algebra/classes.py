"""Which rows of a table, and which elements of a value, are equal to each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from conjugate_ppl.algebra.movement import numbered
from conjugate_ppl.algebra.term import Value, is_known

__all__ = ["equal_elements", "equal_rows"]


def equal_rows(columns: Sequence[np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    """(class of each row, first row of each class) for a table of `count` rows, given by columns.

    Rows of one class are equal in every column; classes are numbered from 0.
    """
    classes = np.zeros(count, np.int64)
    for column in columns:
        if (column == column[:1]).all():
            continue
        _, found = np.unique(column, return_inverse=True)
        pair = classes * (int(found.max(initial=0)) + 1) + found.reshape(-1)
        _, classes = np.unique(pair, return_inverse=True)
        classes = classes.reshape(-1)
    _, first = np.unique(classes, return_index=True)
    return classes, first


def equal_elements(value: Value) -> np.ndarray:
    """A number for each element, shape of the value; elements with one number are always equal.

    Two elements are equal when every monomial has the same coefficient and reads the same elements
    at both.
    """
    if any(t.hidden or not all(is_known(a) for a in t.arrays) for t in value.terms):
        return numbered(value.shape)
    varying = [np.broadcast_to(a, value.shape).reshape(-1)
               for t in value.terms for a in t.arrays if np.size(a) > 1]
    return equal_rows(varying, int(np.prod(value.shape)))[0].reshape(value.shape)
