"""What a user reads: a decision for every latent, and the plan that they make up."""

from __future__ import annotations

import dataclasses
import html
import textwrap
from collections.abc import Mapping
from typing import Any

import networkx as nx

__all__ = ["Decision", "Plan"]


@dataclasses.dataclass(frozen=True)
class Decision:
    """What happens to one latent, and why.

    Attributes:
        site: the site's name.
        collapsed: whether it is integrated out.
        rule: by what rule ("jointly Gaussian", "conjugate Beta", "drawn forward"), or "sampled".
        family: the family of its prior, or the name of its distribution.
        size: how many elements it has.
        reason: why it is collapsed or not, in words.
        source: the line of the model that decided, "model.py:12" ("" where there is none).
    """

    site: str
    collapsed: bool
    rule: str
    family: str
    size: int
    reason: str
    source: str


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """Which latents are collapsed and which are kept, with a `Decision` for each.

    Attributes:
        decisions: site name -> decision, in the model's order.
        collapsed: collapsed sites in the order of their elimination.
        kept: kept sites in the model's order.
        graph: a directed `networkx` graph of all sites; an edge runs from a site to what depends on it.
            Node attributes: `kind` ("collapsed", "kept", "observed").
        statistics: observed sites of kept latents whose rows are added up ahead -> how many numbers a
            gradient then computes.
    """

    decisions: Mapping[str, Decision]
    collapsed: tuple[str, ...]
    kept: tuple[str, ...]
    graph: nx.DiGraph
    statistics: Mapping[str, int] = dataclasses.field(default_factory=dict)

    def __getitem__(self, site: str) -> Decision:
        """The decision on one latent.

        Raises:
            KeyError: if the model has no such latent; the message lists those it has.
        """
        if site not in self.decisions:
            latents = ", ".join(self.decisions)
            raise KeyError(f"{site} is no latent of this model, so nothing is decided on it. Its "
                           f"latents are {latents}.")
        return self.decisions[site]

    def rows(self) -> list[tuple[str, str, str, str, str]]:
        """(site, size, what happens, why, where) for each latent."""
        return [(d.site, str(d.size), d.rule, d.reason, d.source) for d in self.decisions.values()]

    def __repr__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        head = ("site", "size", "decision", "why", "where")
        rows = self.rows()
        widths = [max(len(r[k]) for r in [head, *rows]) for k in range(5)]
        widths[3] = min(widths[3], 58)
        lines = [_line(head, widths), "  ".join("-" * w for w in widths)]
        for row in rows:
            wrapped = textwrap.wrap(row[3], widths[3]) or [""]
            lines.append(_line((*row[:3], wrapped[0], row[4]), widths))
            lines += [_line(("", "", "", more, ""), widths) for more in wrapped[1:]]
        total = sum(d.size for d in self.decisions.values())
        gone = sum(d.size for d in self.decisions.values() if d.collapsed)
        left = ", ".join(f"`{n}`" for n in self.kept)
        lines.append(f"\n{gone} of {total} latent numbers are integrated out exactly; "
                     + (f"the sampler moves {left}." if left
                        else "nothing is left to sample: draws are independent."))
        lines += [f"The rows of `{n}` are added up ahead: its gradient computes {k} numbers."
                  for n, k in self.statistics.items()]
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        def cells(row: tuple[str, ...], tag: str) -> str:
            return "".join(f"<{tag} style='text-align:left'>{html.escape(c)}</{tag}>" for c in row)

        head = cells(("site", "size", "decision", "why", "where"), "th")
        body = "".join(f"<tr>{cells(row, 'td')}</tr>" for row in self.rows())
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"

    def as_dict(self) -> dict[str, Any]:
        """A plain form, for storage with results."""
        return {
            "collapsed": list(self.collapsed),
            "kept": list(self.kept),
            "decisions": {n: dataclasses.asdict(d) for n, d in self.decisions.items()},
        }


def _line(cells: tuple[str, ...], widths: list[int]) -> str:
    return "  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip()
