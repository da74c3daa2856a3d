"""Which rows of a table, and which elements of a value, are equal to each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from conjugate_ppl.algebra.movement import numbered
from conjugate_ppl.algebra.term import Value, is_known

__all__ = ["distinct", "equal_elements", "equal_rows"]


def distinct(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `np.unique(numbers, return_inverse=True)` gives for a vector; whole numbers that are dense are not sorted."""
    if numbers.dtype.kind in "iu" and len(numbers) and numbers.min() >= 0:
        span = int(numbers.max()) + 1
        if span < 4 * len(numbers) + 1024:
            there = np.zeros(span, bool)
            there[numbers] = True
            found = np.flatnonzero(there)
            return found, numbers if len(found) == span else (np.cumsum(there) - 1)[numbers]
    found, inverse = np.unique(numbers, return_inverse=True)
    return found, inverse.reshape(-1)


def equal_rows(columns: Sequence[np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    """(class of each row, first row of each class) for a table of `count` rows, given by columns.

    Rows of one class are equal in every column; classes are numbered from 0.
    """
    classes = np.zeros(count, np.int64)
    for column in columns:
        if (column == column[:1]).all():
            continue
        found = distinct(column)[1]
        classes = distinct(classes * (int(found.max(initial=0)) + 1) + found)[1]
    first = np.zeros(int(classes.max(initial=-1)) + 1, np.int64)
    first[classes[::-1]] = np.arange(count)[::-1]  # of equal places the last one is written
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
