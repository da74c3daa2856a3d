"""The nearest models that must not be collapsed, each with words of the reason."""

from declined import densities, discrete, matrices, plates, relations, types, unproved, uses
from declined.table import CASES, Case, marked_line

__all__ = ["CASES", "Case", "densities", "discrete", "marked_line", "matrices", "plates", "relations", "types", "unproved", "uses"]
