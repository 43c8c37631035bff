"""How the tests check a gradient: reverse mode against the central difference, along one random direction."""

import numpy as np

from nets import Layout, Mode, Tensor, ops, softmax_cross_entropy

H = 1e-5  # truncation O(H^2) ~ 1e-10 and rounding eps / H ~ 2e-11 meet here, for values and derivatives of order 1


def pullback(function, points, u):
    """Return the gradients of <u, function(*points)>, one for each point."""
    leaves = [Tensor(point, needs_grad=True) for point in points]
    ops.sum(ops.multiply(function(*leaves), Tensor(u))).backward()
    return [leaf.grad for leaf in leaves]


def directional_error(function, *points, seed=0):
    """Relative error of <u, J v>, J the Jacobian of `function` (tensors -> tensor) at float64 `points`.

    u and |v| are random, so that a wrong entry anywhere in J shows (the directions that miss it have
    probability 0); the signs of v are those of the gradient, so that no cancellation blurs the result.
    """
    rng = np.random.default_rng(seed)
    u = rng.standard_normal(function(*map(Tensor, points)).data.shape)
    gradients = pullback(function, points, u)
    v = [np.copysign(rng.standard_normal(np.shape(g)), g) for g in gradients]
    ahead, behind = (
        function(*(Tensor(point + h * direction) for point, direction in zip(points, v, strict=True))).data
        for h in (H, -H)
    )
    exact = sum((g * direction).sum() for g, direction in zip(gradients, v, strict=True))
    estimate = (u * (ahead - behind)).sum() / (2 * H)
    return abs(exact - estimate) / max(abs(exact), abs(estimate))


def net_error(model, images, labels, seed=0):
    """Relative error of a net's flat gradient in training, in float64, along a direction not far from it.

    Truncation is h^2 and rounding eps / h = 2e-10. The seed is fixed, because a unit of ReLU could change sides,
    or the maximum of a window its place, within h.
    """
    layout, mode, h = Layout(model), Mode(train=True, seed=seed, draw=2), 1e-6
    theta = layout.initial(seed, np.float64)

    def evaluate(at):
        return layout.evaluate(at, lambda: softmax_cross_entropy(model(Tensor(images), mode), labels))

    g = evaluate(theta)[1]
    v = np.random.default_rng(seed).standard_normal(layout.size) * (theta != 0)
    v = v / np.linalg.norm(v) + g / np.linalg.norm(g)
    estimate = (evaluate(theta + h * v)[0] - evaluate(theta - h * v)[0]) / (2 * h)
    return abs(g @ v - estimate) / abs(estimate)
