"""Tiles: images cut into pieces that stay in the cache between the operations on them.

Shapes: (N, H, W, C) images; rows are lines of an image, W C numbers.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from refopt.arrays import Array

TILE = 1 << 18
"""Bytes of a piece of an element-wise operation: some of them fit into the second-level cache of a core."""


def cut(start: int, stop: int, height: int, most: int) -> Iterator[tuple[slice, slice]]:
    """Yield (images, lines) that cover images start .. stop: some lines of one image, or some whole images.

    `most` is how many lines a tile may hold; tiles are of about equal size.
    """
    if most < height:
        lines = _evenly(height, most)
        for n in range(start, stop):
            yield from ((slice(n, n + 1), slice(i, min(i + lines, height))) for i in range(0, height, lines))
    elif stop > start:
        images = _evenly(stop - start, most // height)
        yield from ((slice(n, min(n + images, stop)), slice(0, height)) for n in range(start, stop, images))


def _evenly(n: int, most: int) -> int:
    """Return the size of equal parts of n, none greater than `most`."""
    parts = -(-n // max(1, most))
    return -(-n // parts)


def column_sums(rows: Array) -> Array:
    """Return the sums (C,) of rows (M, C): a product with ones, which is faster than a sum over the long axis."""
    return np.ones(len(rows), rows.dtype) @ rows
