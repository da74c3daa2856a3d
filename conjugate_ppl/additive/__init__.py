"""Posteriors as sums of contributions: updated, merged, tempered, and one observation taken away."""
