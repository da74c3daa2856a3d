"""Ordinary NumPyro models, each with data and the names of its latents that are to be collapsed."""

from models import (
    alike,
    collinear,
    composition,
    dual,
    elementwise,
    finite,
    forms,
    gaussian,
    gaussian_blocks,
    handlers,
    matrices,
    mixed,
    relations,
    residuals,
    shaped,
    statespace,
    tiers,
    wide,
)
from models.table import CASES, Case

__all__ = ["CASES", "Case", "alike", "collinear", "composition", "dual", "elementwise", "finite", "forms", "gaussian", "gaussian_blocks",
           "handlers", "matrices", "mixed", "relations", "residuals", "shaped", "statespace", "tiers", "wide"]
