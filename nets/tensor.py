"""A tensor knows where it came from: reverse-mode differentiation in one page.

Every operation returns a `Tensor` with its value and, for each operand, a vector-Jacobian product:
the function that takes df/d(value) to its contribution to df/d(operand). `backward` walks the graph
from f to its leaves and applies the chain rule,

    df/da = sum over the uses v of a:  (dv/da)ᵀ df/dv,

visiting each node once, after all of its uses. Nothing is computed for nodes that need no gradient
(data, labels), and references run only from values to operands, so the graph has no cycles and is freed
the moment its last value is.

Shapes: a gradient has the shape and dtype of the value it belongs to.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from refopt.arrays import Array, namespace

Vjp = Callable[[Array, Array | None], Array]
"""vjp(g, out): from df/d(value) to df/d(operand). It never writes into g, it may return g or a view of it, and
where it can it writes into `out` (unless None) and returns `out`: that saves a copy, nothing else."""

Initial = Callable[[np.random.Generator, tuple[int, ...], int, int], np.ndarray]
"""The law of initial values: initial(generator, shape, fan_in, fan_out) is a float64 array of that shape."""


class Tensor:
    """A value, and how a gradient flows from it to its operands.

    Parameters
    ----------
    data : the value, an array of any shape
    *operands : pairs (operand, vjp) of the operation that made it; none for a leaf
    needs_grad : whether `backward` is to leave the gradient of this leaf in `grad`

    Attributes
    ----------
    grad : the gradient the last `backward` that met this leaf left there, else None; to be read only
    into : the array in which a leaf wants its gradient, or None for a new one
    room : makes the array in which the operation behind a value wants its gradient, or None for any
    whole : an array that holds `data` inside of a border of zeros, if there is one

    `into` is how gradients land in one flat vector (`flat`); `room` and `whole` save copies between convolutions and
    batch norms in their fast form (`tiled_conv`, `tiled_norm`), and are None elsewhere.
    """

    __slots__ = ("__weakref__", "data", "grad", "into", "needs_grad", "operands", "room", "whole")

    def __init__(self, data: Array, *operands: tuple[Tensor, Vjp], needs_grad: bool = False):
        self.data = data
        self.operands = tuple((operand, vjp) for operand, vjp in operands if operand.needs_grad)
        self.needs_grad: bool = needs_grad or bool(self.operands)
        self.grad: Array | None = None
        self.into: Array | None = None
        self.room: Callable[[], Array] | None = None
        self.whole: Array | None = None

    def backward(self) -> None:
        """Leave df/d(leaf) in `leaf.grad` for every leaf that needs it; f is this tensor, a 0-d value.

        Only leaves keep a gradient: that of any other node is dropped as soon as it has been passed on.

        Raises
        ------
        ValueError
            If the value is not 0-d.
        """
        if self.data.shape != ():
            raise ValueError(f"backward starts from a 0-d value such as a loss, got shape {self.data.shape}: sum it")
        nodes = _each_before_its_operands(self)
        for node in nodes:
            node.grad = None
        self.grad = namespace(self.data).ones_like(self.data)
        for node in nodes:
            for operand, vjp in node.operands:
                operand._receive(vjp, node.grad)
            if node.operands:
                node.grad = None

    def _receive(self, vjp: Vjp, g: Array) -> None:
        """Take in the gradient that one use of this node sends back."""
        if self.grad is not None:  # a further use: it adds, in place only into an array of its own
            own = self.grad if self.room or self.into is not None else None
            self.grad = namespace(g).add(self.grad, vjp(g, None), out=own)
            return
        own = self.room() if self.room else self.into
        self.grad = vjp(g, own)
        if own is not None and self.grad is not own:
            own[...] = self.grad
            self.grad = own


class Parameter(Tensor):
    """A leaf that lives in the flat vector theta: a shape, and the law of its initial values.

    At each evaluation its `data` is bound to a view of theta (see `flat.Layout`); before the first it has none.

    Parameters
    ----------
    shape : shape of the parameter
    initial : their law
    fan_in, fan_out : how many inputs feed one output of its layer, and how many outputs one input feeds
    """

    __slots__ = ("fan_in", "fan_out", "initial", "shape")

    def __init__(self, shape: tuple[int, ...], initial: Initial, fan_in: int, fan_out: int):
        super().__init__(None)
        del self.data
        self.shape, self.initial, self.fan_in, self.fan_out = shape, initial, fan_in, fan_out

    def __getattr__(self, name: str) -> Array:
        raise AttributeError(f"a parameter has no {name} before Layout.bind or Layout.evaluate gives it some")


def _each_before_its_operands(root: Tensor) -> list[Tensor]:
    """Nodes under `root` that need a gradient, in topological order: depth first, with a stack of our own.

    A recursive walk would meet Python's recursion limit on a deep net.
    """
    finished: list[Tensor] = []
    seen: set[Tensor] = set()
    stack = [(root, False)]
    while stack:
        node, operands_done = stack.pop()
        if operands_done:
            finished.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack.extend((operand, False) for operand, _ in node.operands)
    return finished[::-1]
