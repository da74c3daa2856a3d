"""Which elements of a value are equal to each other, by proof."""

from __future__ import annotations

import numpy as np

from conjugate_ppl.algebra.term import Value, is_known

__all__ = ["equal_elements"]


def equal_elements(value: Value) -> np.ndarray:
    """A number for each element, shape of the value; elements with one number are always equal.

    Two elements are equal when every monomial has the same coefficient and reads the same elements
    at both.
    """
    size = int(np.prod(value.shape))
    if any(t.hidden or not all(is_known(a) for a in t.arrays) for t in value.terms):
        return np.arange(size).reshape(value.shape)
    varying = [np.broadcast_to(a, value.shape).reshape(-1)
               for t in value.terms for a in t.arrays if np.size(a) > 1]
    classes = np.zeros(size, np.int64)
    for array in varying:
        _, found = np.unique(array, return_inverse=True)
        _, classes = np.unique(classes * (int(found.max(initial=0)) + 1) + found.reshape(-1),
                               return_inverse=True)
    return classes.reshape(value.shape)
