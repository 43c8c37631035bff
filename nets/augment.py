"""Augmentation: every image of a mini-batch a little different each time it is seen.

The chances of a draw are a pure function of the seed and of its number: they come from a generator of the host, so they
are the same on every device and after every resume, and two calls within a draw see the same images. What they say is
done where the images are, by one gather.

Images are as their files hold them, before they are standardised: the border of a crop is black.

Shapes: images (N, H, W, C).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from refopt.arrays import Array, namespace

Augment = Callable[[Array, np.random.Generator], Array]
"""Makes of images (N, H, W, C), and of chance, images of the same shape and dtype."""


def flip(images: Array, rng: np.random.Generator) -> Array:
    """Turn left and right round in each image with probability 1/2."""
    return _windows(images, 0, rng)


def crop_flip(images: Array, rng: np.random.Generator) -> Array:
    """Move each image by up to 4 pixels up or down and left or right, black coming in, and flip it.

    A crop of random place out of the image with a border of 4 pixels, each of the 9 x 9 places as likely: what He,
    Zhang, Ren & Sun 2016 (arXiv:1512.03385, section 4.2) do to CIFAR.
    """
    return _windows(images, 4, rng)


AUGMENTS: dict[str, Augment | None] = {"none": None, "flip": flip, "crop-flip": crop_flip}
"""By the name of the option."""


def _windows(images: Array, border: int, rng: np.random.Generator) -> Array:
    """Return a random H x W window of each image with a black border, flipped or not."""
    xp, (N, H, W, C) = namespace(images), images.shape
    down, right = rng.integers(0, 2 * border + 1, (2, N, 1))
    mirrored = rng.random((N, 1)) < 0.5
    padded = xp.zeros((N, H + 2 * border, W + 2 * border, C), images.dtype)
    padded[:, border : border + H, border : border + W] = images
    rows = np.arange(N)[:, None] * (H + 2 * border) + down + np.arange(H)  # (N, H), of all images below each other
    columns = right + np.where(mirrored, np.arange(W)[::-1], np.arange(W))  # (N, W)
    pixels = xp.asarray(rows)[:, :, None] * (W + 2 * border) + xp.asarray(columns)[:, None, :]  # (N, H, W)
    return padded.reshape(-1, C)[pixels]
