"""The same on a GPU as on a CPU: rules, problems, operations, nets; and the same again: two runs, equal bits."""

import math
from itertools import islice

import numpy as np

from nets import conv, losses, ops
from nets.gpu_engine import GpuEngine
from nets.models import MODELS
from nets.oracle import NetOracle
from nets.tensor import Tensor
from refopt import PROBLEMS, RULES, FiniteSum, Shuffled, SPSMax, descend, dot, elementwise
from refopt.arrays import to_host

from .rows import Row

PRECISIONS = {np.float32: 2e-5, np.float64: 1e-12}  # of the largest element: sums of some hundred terms
WAIT = {"Armijo", "SLSRestart", "SLSKeep", "SLS", "SLSReleased", "Goldstein"}  # line searches read what they accept
NETS = ("mlp", "mlp-liang", "lenet", "vgg11", "resnet18", "wrn-16-4")
TWICE = "resnet18", 32  # the net that is to give equal bits, and its mini-batch


def error(here, there):
    """The largest difference, as a share of the largest element or of 1."""
    here, there = np.asarray(here, np.float64), np.asarray(to_host(there), np.float64)
    both = here.shape == there.shape and np.isfinite(there).all()
    return float(np.abs(here - there).max(initial=0) / max(1.0, np.abs(here).max(initial=0))) if both else math.inf


def rules(xp):
    """Twelve steps on a finite sum; how far iterates may part depends on the rule's divisions: 1e-2, and 1e-7."""
    import cupyx

    for dtype, most in ((np.float32, 1e-2), (np.float64, 1e-7)):
        worst, which, waits = 0.0, "", []
        for kind in RULES:
            ends = []
            for module in (np, xp):
                problem = PROBLEMS["least-squares-noisy"]().to(module, dtype)
                oracle = FiniteSum(problem, Shuffled(problem.n, 5))
                steps = descend(kind(), oracle, problem.x0)
                if module is xp and kind.__name__ not in WAIT:
                    try:
                        next(steps)
                        with cupyx.allow_synchronize(False):
                            next(steps)
                    except RuntimeError as wait:
                        waits.append(f"{kind.__name__}: {wait}")
                    steps = descend(kind(), oracle, problem.x0)
                    oracle.seek(0)
                *_, last = islice(steps, 12)
                ends.append(last.x)
            if (gap := error(*ends)) >= worst:
                worst, which = gap, kind.__name__
        name = np.dtype(dtype).name
        yield Row("rules", f"{len(RULES)} rules, 12 steps, {name}: largest difference ({which})", worst, "",
                  worst <= most, f"<= {most}")  # fmt: skip
        yield Row("rules", f"rules that wait for the device in a step, {name}", waits or 0, "", not waits, "0")


def problems(xp):
    for dtype, most in ((np.float32, 1e-4), (np.float64, 1e-11)):
        worst, which = 0.0, ""
        for name, make in PROBLEMS.items():
            here, there = (make().to(module, dtype) for module in (np, xp))
            (f, g), (f2, g2) = here(here.x0), there(there.x0)
            gap = max(error(f, f2), error(g, g2), error(here.hvp(here.x0, g), there.hvp(there.x0, g2)))
            if gap >= worst:
                worst, which = gap, name
        yield Row("problems", f"{len(PROBLEMS)} problems, f, g and Hessian products, {np.dtype(dtype).name}: largest "
                  f"difference ({which})", worst, "", worst <= most, f"<= {most}")  # fmt: skip


def gradients(op, inputs, to):
    """y, and df/d(input) for f = <g, y>."""
    leaves = [Tensor(to(array), needs_grad=True) for array in inputs]
    y = op(*leaves)
    g = to(np.random.default_rng(1).standard_normal(y.data.shape).astype(inputs[0].dtype))
    Tensor((y.data * g).sum(), (y, lambda _, out: g)).backward()
    return [y.data, *(leaf.grad for leaf in leaves)]


def operations(xp):
    """Each by its kernels, and by the plain text on the device, against the plain text here."""
    labels = np.random.default_rng(2).integers(0, 10, 32)
    cases = {}
    for size, stride, padding, C in (
        (3, 1, 1, 64),
        (3, 2, 1, 64),
        (1, 2, 0, 32),
        (1, 1, 0, 32),
        (5, 1, 0, 3),
        (7, 2, 3, 3),
    ):
        cases[f"convolution {size}x{size}, stride {stride}, {C} channels"] = (
            lambda to, s=stride, p=padding: (lambda m: lambda x, w, b: m.conv2d(x, w, b, s, p)),
            conv, [(8, 16, 15, C), (32, size, size, C), (32,)],
        )  # fmt: skip
    for relu, C in ((False, 64), (True, 64), (True, 6), (True, 512)):
        cases[f"batch norm, {C} channels{', ReLU and shortcut' * relu}"] = (
            lambda to, r=relu: (lambda m: lambda x, a, b, plus: m.batch_norm_relu(x, a, b, 1e-5, r, plus)[0]),
            ops, [(16, 9, 8, C), (C,), (C,), (16, 9, 8, C)],
        )  # fmt: skip
    for size, stride, padding in ((2, 2, 0), (3, 2, 1)):
        cases[f"maxima of {size}x{size}"] = (
            lambda to, a=(size, stride, padding): lambda m: lambda x: m.max_pool2d(x, *a),
            conv,
            [(8, 16, 15, 24)],
        )
    cases["means of 2x2"] = (lambda to: lambda m: lambda x: m.avg_pool2d(x, 2, 2), conv, [(8, 16, 15, 24)])
    cases["softmax cross-entropy"] = (
        lambda to: lambda m: lambda z: m.softmax_cross_entropy(z, to(labels)),
        losses,
        [(32, 10)],
    )
    for form in ("kernels", "plain text"):
        for dtype, most in PRECISIONS.items():
            worst, which = 0.0, ""
            for name, (of, plain, shapes) in cases.items():
                rng = np.random.default_rng(0)
                inputs = [rng.standard_normal(shape).astype(dtype) for shape in shapes]
                module = GpuEngine() if form == "kernels" else plain
                here = gradients(of(np.asarray)(plain), inputs, np.asarray)
                there = gradients(of(xp.asarray)(module), inputs, xp.asarray)
                gap = max(map(error, here, there))
                if gap >= worst:
                    worst, which = gap, name
            yield Row("operations", f"{len(cases)} by {form}, {np.dtype(dtype).name}: largest difference ({which})",
                      worst, "", worst <= most, f"<= {most}")  # fmt: skip


@elementwise
def formula(m, v, g, lr):
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    return m, v, -lr * m / ((v + 1e-8) ** 2 + abs(g))


def formulas(xp):
    """Formulas keep their bits; a dot keeps what float32 sums would lose."""
    for dtype in PRECISIONS:
        m, v, g = np.random.default_rng(0).standard_normal((3, 100_001)).astype(dtype)
        same = all(
            (to_host(there) == here).all()
            for here, there in zip(formula(m, v, g, 0.01), formula(*map(xp.asarray, (m, v, g)), 0.01), strict=True)
        )
        yield Row("formulas", f"bits of a formula, {np.dtype(dtype).name}", "equal" if same else "differ", "", same)
        exact = float(m.astype(np.float64) @ g.astype(np.float64))
        gap = abs(float(to_host(dot(xp.asarray(m), xp.asarray(g)))) - exact) / float(abs(m) @ abs(g))
        yield Row("formulas", f"error of dot, {np.dtype(dtype).name}", gap, "", gap < 1e-7, "< 1e-7")


def oracle(name, xp, dtype, engine, batch=8):
    shape = (28, 28, 1) if name.startswith("mlp-") else (8, 8, 1) if name == "mlp" else (32, 32, 3)
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((batch, *shape)), rng.integers(0, 10, batch)
    net = NetOracle(MODELS[name](shape, 10), images, labels, Shuffled(batch, batch), xp=xp, dtype=dtype, engine=engine)
    net.draw()
    return net, net.layout.initial(0, dtype, xp)


def nets(xp):
    """One answer each, on eight images; in float32 a ReLU may fall on the other side of its kink, which g notices."""
    for dtype, most, kinks in ((np.float32, 1e-4, 2e-2), (np.float64, 1e-11, 1e-9)):
        for name in NETS:
            net, x = oracle(name, np, dtype, None)
            f, g = net(x)
            for form, engine in (("kernels", GpuEngine()), ("plain text", None)):
                there, x2 = oracle(name, xp, dtype, engine)
                f2, g2 = there(x2)
                what = f"{name} by {form}, {np.dtype(dtype).name}"
                pairs = zip((f, *net.buffers().values()), (f2, *there.buffers().values()), strict=True)
                gap = max(error(a, b) for a, b in pairs)
                yield Row("nets", f"{what}: f and statistics", gap, "", gap <= most, f"<= {most}")
                gap = error(g / np.abs(g).max(), g2 / float(np.abs(g).max()))
                yield Row("nets", f"{what}: g", gap, "", gap <= kinks, f"<= {kinks}")


def determinism(xp):
    name, batch = TWICE
    for precision in ("fp32", "tf32"):
        runs = []
        for _ in range(2):
            net, x = oracle(name, xp, np.float32, GpuEngine(precision), batch)
            *_, last = islice(descend(SPSMax(), net, x), 5)
            runs.append(to_host(last.x).tobytes())
        yield Row("determinism", f"{name}, five steps twice, {precision}", "equal bits" if runs[0] == runs[1] else
                  "different", "", runs[0] == runs[1])  # fmt: skip
