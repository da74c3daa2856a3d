"""A quadratic with some of its elements in other coordinates."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, Protocol

import numpy as np

from conjugate_ppl.algebra.weighted import DENSE
from conjugate_ppl.gaussian.quadratic import Quadratic

__all__ = ["Among", "Turn", "among", "observed", "turned"]


class Turn(Protocol):
    """Elements e = M u by others, for a known matrix M: `forward` is M^-1 x, `backward` M x, `coefficients` M'h."""

    def forward(self, x: Any) -> Any: ...

    def backward(self, x: Any) -> Any: ...

    def coefficients(self, h: np.ndarray) -> np.ndarray: ...


class Among(NamedTuple):
    """H among `elements`, whose places in it are `place`: shape (n, n, weights), and which weights these are."""

    numbers: np.ndarray
    used: np.ndarray
    elements: np.ndarray
    place: np.ndarray


def among(q: Quadratic, place: np.ndarray, elements: np.ndarray) -> Among:
    """H among elements with a place."""
    inside = np.flatnonzero((place[q.rows] >= 0) & (place[q.columns] >= 0))
    used, w = np.unique(q.weights[inside], return_inverse=True)
    h = np.zeros((len(elements), len(elements), len(used)))
    np.add.at(h, (place[q.rows[inside]], place[q.columns[inside]], w), q.numbers[inside])
    return Among(h, used, elements, place)


def observed(q: Quadratic, elements: np.ndarray, precision: np.ndarray, mean: np.ndarray) -> Quadratic:
    """With a prior as one more observation, of the constant weight."""
    i, j = np.nonzero(precision)
    linear = precision @ mean
    constant = np.zeros(len(i) + len(elements), np.int64)
    return dataclasses.replace(
        q, rows=np.append(q.rows, elements[i]), columns=np.append(q.columns, elements[j]),
        weights=np.append(q.weights, constant[: len(i)]), numbers=np.append(q.numbers, precision[i, j]),
        places=np.append(q.places, elements), linear_weights=np.append(q.linear_weights, constant[len(i):]),
        linear=np.append(q.linear, linear))


def turned(q: Quadratic, own: Among, turn: Turn, squares: np.ndarray | None = None) -> Quadratic | None:
    """The quadratic with some elements by their axes, by which their own part of it is that of `squares`, shape (elements, weights),
    if those are given; None if that would take too many numbers."""
    elements, place = own.elements, own.place
    across = _across(q, place, elements, turn)
    if across is None:
        return None
    rows, columns, weights, numbers = across
    two = np.flatnonzero((place[q.rows] < 0) & (place[q.columns] < 0))
    one = np.flatnonzero(place[q.places] < 0)
    i, j, w, own_numbers = _inside(elements, own, turn, squares)
    places, linear_weights, linear = _linear(q, place, elements, turn)
    return dataclasses.replace(
        q, rows=np.concatenate([q.rows[two], i, rows, columns]), columns=np.concatenate([q.columns[two], j, columns, rows]),
        weights=np.concatenate([q.weights[two], w, weights, weights]),
        numbers=np.concatenate([q.numbers[two], own_numbers, numbers, numbers]),
        places=np.append(q.places[one], places), linear_weights=np.append(q.linear_weights[one], linear_weights),
        linear=np.append(q.linear[one], linear))


def _inside(elements: np.ndarray, own: Among, turn: Turn, squares: np.ndarray | None) -> tuple[np.ndarray, ...]:
    """(rows, columns, weights, numbers) of what is quadratic in the elements."""
    if squares is not None:
        i, w = np.nonzero(squares)
        return elements[i], elements[i], own.used[w], squares[i, w]
    h = own.numbers
    for _ in range(2):
        h = np.swapaxes(turn.coefficients(h.reshape(len(h), -1)).reshape(h.shape), 0, 1)
    i, j, w = np.nonzero(h)
    return elements[i], elements[j], own.used[w], h[i, j, w]


def _across(q: Quadratic, place: np.ndarray, elements: np.ndarray, turn: Turn) -> tuple[np.ndarray, ...] | None:
    """The same of what joins them with others."""
    there = np.flatnonzero((place[q.rows] >= 0) & (place[q.columns] < 0))
    pair, at = np.unique(np.stack([q.columns[there], q.weights[there]]), axis=1, return_inverse=True)
    if len(elements) * pair.shape[1] > DENSE:
        return None
    h = np.zeros((len(elements), pair.shape[1]))
    np.add.at(h, (place[q.rows[there]], at.reshape(-1)), q.numbers[there])
    h = turn.coefficients(h)
    i, j = np.nonzero(h)
    return elements[i], pair[0, j], pair[1, j], h[i, j]


def _linear(q: Quadratic, place: np.ndarray, elements: np.ndarray, turn: Turn) -> tuple[np.ndarray, ...]:
    """(places, weights, numbers) of what is linear in the elements."""
    inside = np.flatnonzero(place[q.places] >= 0)
    used, w = np.unique(q.linear_weights[inside], return_inverse=True)
    h = np.zeros((len(elements), len(used)))
    np.add.at(h, (place[q.places[inside]], w), q.linear[inside])
    h = turn.coefficients(h)
    i, w = np.nonzero(h)
    return elements[i], used[w], h[i, w]
