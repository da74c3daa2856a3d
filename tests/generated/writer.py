"""What the strategies write to: the source text of one ordinary NumPyro model, and what is known of it.

A model is text, so that a failure can be read, run and kept (`tests/regressions`). Its data are made
from its own prior by running it with every observation `None`, so that exact draws can be ranked against
the values that made the data.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

__all__ = ["Latent", "Writer", "Written"]

HEADER = """\
import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from numpyro import handlers
"""

_EXPECTED = ("MUST", "NEVER", "OBSERVED", "RANKED", "FEATURES")


@dataclasses.dataclass(frozen=True)
class Latent:
    """A latent that has been written: its name (also its variable), shape and kind of value."""

    name: str
    shape: tuple[int, ...]
    kind: str


@dataclasses.dataclass(frozen=True)
class Written:
    """A finished model.

    Attributes:
        source: text that defines `model`, `constants(rng)` and what follows here.
        must: latents that are to be collapsed.
        never: latents that may not be.
        observed: arguments of the model that hold observations, and the sites that make them.
        ranked: whether the model, run without observations, is the joint density (no factors, no
            weights), so that draws can be ranked.
        features: what the model is made of, for the report.
    """

    source: str
    must: tuple[str, ...]
    never: tuple[str, ...]
    observed: dict[str, str]
    ranked: bool
    features: tuple[str, ...]

    @staticmethod
    def parse(source: str) -> Written:
        """The model of a text that `finish` made; the expectations stand at its end."""
        space: dict[str, Any] = {}
        exec(source[source.rindex("\nMUST = "):], space)
        return Written(source, *(space[n] for n in _EXPECTED))


class Writer:
    """Collects lines and expectations while choices are made.

    Args:
        pick: from n to a number below n, the smaller the simpler.
    """

    def __init__(self, pick: Callable[[int], int]) -> None:
        self._pick = pick
        self.latents: list[Latent] = []
        self.must: dict[str, None] = {}
        self.never: dict[str, None] = {}
        self.features: dict[str, None] = {}
        self.ranked = True
        self._lines: list[str] = []
        self._helpers: dict[str, None] = {}
        self._constants: dict[str, str] = {}
        self._observed: dict[str, str] = {}
        self._wrappers: list[str] = []
        self._names: dict[str, int] = {}
        self._indent = 1

    # -- choices ----------------------------------------------------------------------------------

    def choose(self, options: Sequence[Any]) -> Any:
        """One of some options; the first is the simplest."""
        return options[self._pick(len(options))]

    def chance(self, percent: int = 50) -> bool:
        """True with about this probability."""
        return self._pick(100) >= 100 - percent

    def note(self, feature: str) -> None:
        """Count something for the report."""
        self.features[feature] = None

    # -- text -------------------------------------------------------------------------------------

    def name(self, stem: str) -> str:
        """A name not used yet."""
        self._names[stem] = self._names.get(stem, 0) + 1
        return f"{stem}{self._names[stem]}"

    def line(self, text: str) -> None:
        """A line of the model."""
        self._lines.append("    " * self._indent + text)

    def let(self, stem: str, expression: str) -> str:
        """A new variable of the model."""
        name = self.name(stem)
        self.line(f"{name} = {expression}")
        return name

    def help(self, text: str) -> None:
        """Definitions before the model."""
        self._helpers[text] = None

    def helped(self, word: str) -> bool:
        """Whether the definitions before the model have a word."""
        return any(word in text for text in self._helpers)

    @contextmanager
    def within(self, header: str) -> Iterator[None]:
        """Lines inside `with header:`, or the same lines bare where the header is empty."""
        if header:
            self.line(f"with {header}:")
            self._indent += 1
        yield
        if header:
            self._indent -= 1

    def constant(self, stem: str, expression: str) -> str:
        """An argument of the model, by an expression in NumPy's `rng`."""
        name = self.name(stem)
        self._constants[name] = expression
        return name

    def latent(self, stem: str, distribution: str, shape: tuple[int, ...], kind: str,
               more: str = "", must: bool = False) -> Latent:
        """A latent site; `more` are further arguments of `sample`."""
        name = self.name(stem)
        self.line(f'{name} = numpyro.sample("{name}", {distribution}{more})')
        return self.expect(name, shape, kind, must)

    def expect(self, name: str, shape: tuple[int, ...], kind: str, must: bool = False) -> Latent:
        """A latent that the text has elsewhere."""
        out = Latent(name, shape, kind)
        self.latents.append(out)
        if must:
            self.must[name] = None
        return out

    def seen(self) -> str:
        """The name of an observed site whose statement is written elsewhere."""
        name = self.name("y")
        self._observed[name] = name
        return name

    def many(self, stem: str, distribution: str, size: int, varied: bool, kind: str,
             must: bool = False) -> Latent:
        """`size` latents side by side, in one of the ways to write that.

        Args:
            stem: beginning of the name.
            distribution: text of the distribution of one, or (`varied`) of a batch of `size`.
            size: how many.
            varied: whether the parameters are themselves batches of that size.
            kind: kind of value.
            must: whether they are to be collapsed.
        """
        ways = ["plate", "to_event"] if varied else ["plate", "expand", "to_event", "sample_shape"]
        way = self.choose([*ways, "plain"] if varied else ways)
        self.note(f"batch by {way}")
        if way == "plate":
            with self.within(f'numpyro.plate("{self.name("plate")}", {size})'):
                return self.latent(stem, distribution, (size,), kind, must=must)
        if way == "sample_shape":
            return self.latent(stem, distribution, (size,), kind, f", sample_shape=({size},)", must)
        if not varied:
            distribution += f".expand([{size}])"
        if way == "to_event":
            distribution += ".to_event(1)"
        return self.latent(stem, distribution, (size,), kind, must=must)

    def observe(self, distribution: str, seen: str = "", way: str = "") -> None:
        """An observed site; where cells are missing, `way` says how that is written.

        Args:
            distribution: text of the distribution.
            seen: variable that is true where a cell is not missing.
            way: "nan" (missing cells hold NaN and are masked) or "obs_mask".
        """
        name = self.name("y")
        self._observed[name] = f"{name}_observed" if way == "obs_mask" else name
        obs, more = name, ""
        if way == "nan":
            distribution += f".mask({seen})"
            obs = f"None if {name} is None else jnp.where({seen}, {name}, jnp.nan)"
        elif way == "obs_mask":
            more = f", obs_mask={seen}"
        self.line(f'numpyro.sample("{name}", {distribution}, obs={obs}{more})')

    def wrap(self, handler: str) -> None:
        """A handler around the whole model."""
        self._wrappers.append(f"model = handlers.{handler}")

    def rename(self, new: Callable[[str], str]) -> None:
        """What a handler does to the names of sites."""
        self.latents = [dataclasses.replace(x, name=new(x.name)) for x in self.latents]
        self.must = {new(n): None for n in self.must}
        self.never = {new(n): None for n in self.never}
        self._observed = {argument: new(n) for argument, n in self._observed.items()}

    def decline(self, name: str) -> None:
        """This latent may not be collapsed."""
        self.must.pop(name, None)
        self.never[name] = None

    def unsure(self, name: str) -> None:
        """Nothing is expected of this latent."""
        self.must.pop(name, None)
        self.never.pop(name, None)

    def finish(self) -> Written:
        """The text."""
        arguments = ", ".join([*self._constants, *(f"{y}=None" for y in self._observed)])
        made = [f"    {name} = {expression}" for name, expression in self._constants.items()]
        together = ", ".join(f"{name}={name}" for name in self._constants)
        known = (tuple(self.must), tuple(self.never), dict(self._observed), self.ranked,
                 tuple(self.features))
        source = "\n".join([
            HEADER, *self._helpers, "\ndef constants(rng):", *made, f"    return dict({together})\n\n",
            f"def model({arguments}):", *self._lines, "\n",
            *self._wrappers, "",
            *(f"{name} = {value!r}" for name, value in zip(_EXPECTED, known, strict=True)), ""])
        return Written(source, *known)
