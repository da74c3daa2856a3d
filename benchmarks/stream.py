"""More data than memory: a regression on a memory-mapped file, batch by batch.

    python benchmarks/stream.py [--rows 1e8] [--batch 1e6]

Writes two columns of float32 into a temporary folder (8 bytes a row; removed at the end), adds them up by
`collapse(model).stream(batches)`, and prints the time as a ratio to that of summing both columns and their squares
in NumPy, batch by batch, and how much memory of its own the process has more than before, at most.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist

import conjugate_ppl as cj


def model(x: Any, y: Any) -> None:
    v = numpyro.sample("v", dist.InverseGamma(2.0, 1.0))
    slope = numpyro.sample("slope", dist.Normal(0.0, jnp.sqrt(v)))
    level = numpyro.sample("level", dist.Normal(0.0, 10.0 * jnp.sqrt(v)))
    with numpyro.plate("rows", len(y)):
        numpyro.sample("y", dist.Normal(level + slope * x, jnp.sqrt(v)), obs=y)


def write(path: Path, rows: int, batch: int) -> None:
    """A file of two columns, one after the other."""
    columns = np.memmap(path, np.float32, "w+", shape=(2, rows))
    rng = np.random.default_rng(0)
    for k in range(0, rows, batch):
        x = rng.standard_normal(min(batch, rows - k), np.float32)
        columns[0, k : k + batch] = x
        columns[1, k : k + batch] = 3.0 + 0.5 * x + rng.standard_normal(len(x), np.float32)
    columns.flush()


def batches(path: Path, batch: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The file's rows. It is opened anew for each batch: what was mapped is let go."""
    rows = path.stat().st_size // 8
    for k in range(0, rows, batch):
        columns = np.memmap(path, np.float32, "r", shape=(2, rows))
        yield columns[0, k : k + batch], columns[1, k : k + batch]


def own_memory() -> int:
    """Bytes of this process that are no file's."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) * 1024


@contextlib.contextmanager
def watched(peak: list[int]) -> Iterator[None]:
    """Append the largest growth of the process's own memory meanwhile."""
    before, done, most = own_memory(), threading.Event(), [0]

    def watch() -> None:
        while not done.wait(0.005):
            most[0] = max(most[0], own_memory() - before)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        peak.append(most[0])


def measure(rows: int, batch: int) -> dict[str, float]:
    """Seconds of both ways, and bytes."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "columns"
        write(path, rows, batch)
        begin = time.perf_counter()
        total = np.zeros(4)
        for x, y in batches(path, batch):
            total += [x.sum(dtype=np.float64), y.sum(dtype=np.float64), np.square(x).sum(dtype=np.float64),
                      np.square(y).sum(dtype=np.float64)]
        plain = time.perf_counter() - begin
        peak: list[int] = []
        begin = time.perf_counter()
        with watched(peak):
            stream = cj.collapse(model).stream(batches(path, batch))
        streamed = time.perf_counter() - begin
        mean = stream.recover(jax.random.key(0), {}, num_samples=1000)["slope"].mean()
        assert abs(float(mean) - 0.5) < 6 / np.sqrt(rows), mean
    return {"plain": plain, "streamed": streamed, "memory": peak[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=float, default=1e8)
    parser.add_argument("--batch", type=float, default=1e6)
    options = parser.parse_args()
    measure(1000, 500)  # what is loaded and compiled once
    print("| rows | rows a batch | sums in NumPy, s | stream, s | ratio | peak memory, MB |")
    print("|---|---|---|---|---|---|")
    for rows in (int(options.rows) // 10, int(options.rows)):
        r = measure(rows, int(options.batch))
        print(f"| {rows:.0e} | {options.batch:.0e} | {r['plain']:.2f} | {r['streamed']:.2f} | "
              f"{r['streamed'] / r['plain']:.1f} | {r['memory'] / 1e6:.0f} |", flush=True)


if __name__ == "__main__":
    main()
