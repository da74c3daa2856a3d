"""Every error that the package can raise, with a way to provoke it."""

from provoked import certificate, models, names, posteriors, values
from provoked.table import CASES, Case

__all__ = ["CASES", "Case", "certificate", "models", "names", "posteriors", "values"]
