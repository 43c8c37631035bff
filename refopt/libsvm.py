"""Real data as logistic problems: five sets of the LIBSVM page, and scikit-learn's breast cancer.

Problem
    f(x) = mean log(1 + exp(-b_i a_i'x)) + lam/2 |x|², over n observations a_i with labels b_i = ±1: see
    `refopt.linear_models`. There is no intercept, x0 = 0, and lam = 1/n unless another is given: then f* is certified,
    when asked for, by Newton's method.

A file of the LIBSVM page is looked for in the folder REFOPT_DATA, in it or in `libsvm/`, plain or compressed (.gz, .xz,
.bz2), and else downloaded once into the cache. Its lines, without the blanks at their ends, must have the known hash.

Shapes: n observations, d variables: A (n, d) dense, float64; b (n,); x0 (d,).

References: Chang, Lin, LIBSVM: a library for support vector machines (2011), and its page of data sets; Platt, Fast
training of support vector machines (1998), for a1a, a2a, w8a; Prokhorov, IJCNN 2001 neural network competition;
Street, Wolberg, Mangasarian, Nuclear feature extraction for breast tumor diagnosis (1993).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .arrays import Array
from .fetch import DataError, decompressed, download, find
from .linear_models import Logistic

PAGE = "https://www.csie.ntu.edu.tw/~cjlin/libsvmtools/datasets/binary/"


class File(NamedTuple):
    """A file of the page."""

    archive: str
    """Its name there."""
    d: int
    """Variables; the last ones of a1a and a2a are 0 in every observation."""
    sha256: str
    """Hash of its lines, without the blanks at their ends, joined by line feeds."""


FILES = {
    "mushrooms": File("mushrooms", 112, "a082183b372d8ddd8bf84542785952fb53c86cee7ea5e4399cb4ed0f3d5132c5"),
    "a1a": File("a1a", 123, "4e013dd5fbfef8c648b97271e2b63548be30330187c770c351573df2f344f979"),
    "a2a": File("a2a", 123, "15f830fbeeb6cf737548d9d558d60438348f2f74fc89f278c373f1a63b9bceea"),
    "w8a": File("w8a", 300, "434eb5fdfe5ab0f759922fe58473326dbccaf16342ae874ac295d99322b44274"),
    "ijcnn1": File("ijcnn1.bz2", 22, "8ce29ac70dd85a3c139595415c44179d07df8fb39e9bd1c0ba7951c52372e6e6"),
}
"""The sets that `libsvm` loads, by name."""


def libsvm(name: str, lam: float | None = None) -> Logistic:
    """Load a set, one of FILES, with the penalty lam/2 |x|², by default 1/n.

    The features are those of the file; of its two labels the larger becomes +1 (of mushrooms: edible), the other -1.

    Raises
    ------
    ValueError
        If there is no set of that name, or lam is negative.
    DataError
        If the file is neither there nor to be had from the network, or is not the known one.
    """
    from sklearn.datasets import load_svmlight_file  # noqa: PLC0415  (slow)

    if name not in FILES:
        raise ValueError(f"name must be one of {', '.join(FILES)}, got {name!r}")
    archive, d, sha256 = FILES[name]

    def check(content: bytes, source: Path | str) -> None:
        lines = b"\n".join(line.rstrip() for line in content.splitlines() if line.strip())
        found = hashlib.sha256(lines).hexdigest()
        if found != sha256:
            raise DataError(f"{source} is not the known {name}: its lines have the SHA-256 {found}, not {sha256}")

    folder = os.environ.get("REFOPT_DATA")
    path = find(Path(folder) if folder else None, "libsvm", name) or download("libsvm", archive, (PAGE,), check)
    content = decompressed(path)
    check(content, path)
    A, y = load_svmlight_file(BytesIO(content), n_features=d, zero_based=False)
    return _logistic(A.toarray(), y, lam)


def breast_cancer(lam: float | None = None) -> Logistic:
    """Load 569 tumours of 30 measurements, benign +1, malignant -1, with the penalty lam/2 |x|², by default 1/n.

    Each measurement is shifted and scaled to mean 0 and variance 1: as they are, in units of their own, L/mu is 2·10⁸.
    """
    from sklearn.datasets import load_breast_cancer  # noqa: PLC0415  (slow)

    A, y = load_breast_cancer(return_X_y=True)
    return _logistic((A - A.mean(axis=0)) / A.std(axis=0), y, lam)


def _logistic(A: Array, y: Array, lam: float | None) -> Logistic:
    """Return the problem for observations A (n, d) and any two labels y (n,)."""
    n, d = A.shape
    return Logistic(A, np.where(y == y.max(), 1.0, -1.0), np.zeros(d), 1 / n if lam is None else lam)


REAL: dict[str, Callable[[], Logistic]] = {
    "breast-cancer": breast_cancer,
    **{name: partial(libsvm, name) for name in FILES},
}
"""The problems of real data, by name: call it to make one."""
