"""Every rule and net, on the strict double of a GPU: equal to NumPy's plain path bit for bit, never waited for.

The plain path is that without kernels (see test_kernels). NumPy's own `dot` adds in another order than a device, so
here it adds as a device does.
"""

import sys
from itertools import islice
from math import prod

import numpy as np
import pytest
import strict
from test_contract import WAITS, batches, device_dot, every_rule, family

import nets.options
from nets.augment import crop_flip
from nets.checkpoint import Checkpoint
from nets.initial import torch_uniform
from nets.layers import ReLU
from nets.logs import read_table
from nets.models import MODELS, mlp
from nets.oracle import NetOracle
from nets.resnet import BasicBlock, imagenet_stem, resnet
from nets.train import fit
from refopt import (
    ALIG,
    BB1,
    L2,
    NTLR,
    Adam,
    AdaSecant,
    Ball,
    Clip,
    Constrained,
    GradientDescent,
    HeavyBall,
    NonFiniteError,
    Shuffled,
    SPSMax,
    arrays,
    descend,
    dot,
)
from refopt.oracle import Wrapper


@pytest.fixture(autouse=True)
def _dots_as_on_a_device(monkeypatch):
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in ("refopt", "nets") and getattr(module, "dot", None) is dot:
            monkeypatch.setattr(module, "dot", device_dot)


# --- rules -----------------------------------------------------------------------------------------------------------

BUDGETS = {"AdaSecantTheory": 140, "AdaSecantLagged": 140, "AdaSecantThesis": 140, "AdaSecantThesisCorrected": 140,
           "AdaSecant": 160}  # fmt: skip
"""Launches of a step without the oracle's and without kernels of its own: one for each operation. 36 for the others."""


class Apart(Wrapper):
    """An oracle whose launches are not counted."""

    def __call__(self, x):
        with strict.watch():
            return super().__call__(x)

    def value(self, x):
        with strict.watch():
            return super().value(x)

    def peek(self, x):
        with strict.watch():
            return super().peek(x)


@every_rule
def test_a_step_in_float32_makes_no_float64_and_keeps_its_budget_of_launches(kind):
    """Line searches read whether a step is accepted, and try until one is: how often is not known before."""
    problem = family().to(strict, np.float32)
    oracle, rule, x = batches(problem), kind(), problem.x0.copy()
    rule.start(x, oracle)
    for _ in range(6):
        oracle.draw()
        with strict.watch(may_wait=kind.__name__ in WAITS, float64=False) as seen:
            d = rule.step(x, Apart(oracle))
        assert d.dtype == np.float32
        if kind.__name__ not in WAITS:
            assert sum(seen.launches.values()) <= BUDGETS.get(kind.__name__, 36)
        x += d


# --- nets ------------------------------------------------------------------------------------------------------------


def small_resnet(shape, classes):
    """Both kinds of shortcut, overlapping maxima behind a large window."""
    return resnet(BasicBlock, (1, 1), shape, classes, stem=imagenet_stem, width=4)


def dropping_mlp(shape, classes):
    return mlp((prod(shape), 32, classes), ReLU, torch_uniform, torch_uniform, dropout=0.5)


NETS = {  # the net, images (H, W, C), a mini-batch, launches of f and its gradient by the plain text
    "mlp": (MODELS["mlp"], (8, 8, 1), 4, 30),
    "mlp with dropout": (dropping_mlp, (8, 8, 1), 4, 50),
    "lenet": (MODELS["lenet"], (32, 32, 3), 4, 114),
    "resnet": (small_resnet, (12, 12, 3), 4, 409),
    "vgg11": (MODELS["vgg11"], (32, 32, 3), 2, 598),
    "resnet18": (MODELS["resnet18"], (32, 32, 3), 2, 1215),
    "wrn-16-4": (MODELS["wrn-16-4"], (16, 16, 3), 2, 845),
}


def oracle_of(name, xp, dtype, n=40):
    make, shape, batch, _ = NETS[name]
    rng = np.random.default_rng(0)
    images, labels = rng.standard_normal((n, *shape)), rng.integers(0, 10, n)
    net = NetOracle(make(shape, 10), images, labels, Shuffled(n, batch), xp=xp, dtype=dtype)
    return net, net.layout.initial(0, dtype, xp)


def moved(rule, oracle, x, steps, read):
    return [
        (read(step.x).tobytes(), read(step.f).tobytes(), read(step.g).tobytes())
        for step in islice(descend(rule, oracle, x), steps)
    ]


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_net_trains_on_a_device_as_it_trains_here_bit_for_bit(name, dtype):
    """The nets of the papers, whole, on images of their size; loss, gradient, parameters and running statistics."""
    steps = 2
    (here, x), (there, x2) = (oracle_of(name, xp, dtype) for xp in (np, strict))
    with strict.watch(float64=dtype is np.float64) as seen:
        on_device = moved(SPSMax(), there, x2, steps, strict.read)
    assert on_device == moved(SPSMax(), here, x, steps, np.asarray)
    assert not seen.waits
    assert seen.uploads["asarray"] == steps, "the indices of a mini-batch, once a step"
    for key, value in there.buffers().items():
        np.testing.assert_array_equal(strict.read(value), here.buffers()[key])


@pytest.mark.parametrize("name", NETS)
def test_an_answer_of_a_net_keeps_its_budget_of_launches(name):
    net, x = oracle_of(name, strict, np.float32)
    net.draw()
    with strict.watch(float64=False) as seen:
        net(x)
    assert sum(seen.launches.values()) <= NETS[name][3]


@pytest.mark.parametrize(
    "rule", [GradientDescent(), HeavyBall(), Adam(), SPSMax(), ALIG(eta_max=1.0), BB1(), NTLR(), AdaSecant()], ids=repr
)
def test_rules_move_a_net_on_a_device_as_here_also_through_wrappers(rule):
    """Weight decay hides f*, so Polyak's kind gets a ball and a clip alone."""
    kind = type(rule)
    runs = []
    for xp, read in ((np, np.asarray), (strict, strict.read)):
        net, x = oracle_of("mlp", xp, np.float32)
        oracle = Constrained(Clip(net, 0.5), Ball(30.0))
        oracle = oracle if kind in (SPSMax, ALIG) else L2(oracle, 1e-3)
        runs.append(moved(kind(**vars(rule)), oracle, x, 5, read))
    assert runs[0] == runs[1]


def test_augmented_images_are_the_same_on_a_device():
    """Drawn on the host, moved and turned round where they are: two more uploads, of rows and columns."""
    nets = []
    for xp in (np, strict):
        images, labels = np.random.default_rng(0).integers(0, 256, (8, 6, 6, 3), np.uint8), np.arange(8)
        order, scale = Shuffled(8, 4), (np.float32([1, 2, 3]), 2)
        net = NetOracle(MODELS["mlp"]((6, 6, 3), 10), images, labels, order, scale=scale, augment=crop_flip, xp=xp)
        with strict.watch(float64=False) as seen:
            net.draw()
        nets.append(net)
    np.testing.assert_array_equal(nets[0].batch[0], strict.read(nets[1].batch[0]))
    assert seen.uploads == {"asarray": 3}


def test_evaluation_waits_once():
    (here, x), (there, x2) = (oracle_of("resnet", xp, np.float32) for xp in (np, strict))
    with strict.watch(may_wait=True) as seen:
        scores = there.evaluate(x2, there.images, there.labels, batch=3)
    assert scores == here.evaluate(x, here.images, here.labels, batch=3)
    assert sum(seen.waits.values()) == 1
    assert not seen.uploads


# --- a whole run -----------------------------------------------------------------------------------------------------


@pytest.fixture
def double(monkeypatch):
    """Let device "gpu" be the double, without kernels; "cpu" computes by the plain text, too."""
    monkeypatch.setattr(nets.options, "array_module", lambda device: strict if device == "gpu" else np)
    monkeypatch.setattr(nets.options, "Engine", lambda threads: None)
    monkeypatch.setattr(nets.options, "GpuEngine", lambda precision: None)


def options(**changes):
    return nets.options.Options(**{"epochs": 2, "batch": 120, "seed": 3} | changes)


@pytest.mark.parametrize("rule", [SPSMax, Adam, AdaSecant, BB1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_run_on_a_device_leaves_the_files_of_a_run_here_and_waits_only_between_epochs(rule, dtype, double, tmp_path):
    fit(options(dtype=dtype, validation=0.1), rule(), tmp_path / "cpu")
    with strict.watch(may_wait=True, float64=dtype == "float64") as seen:
        fit(options(device="gpu", dtype=dtype, validation=0.1), rule(), tmp_path / "gpu")
    assert (tmp_path / "gpu" / "log.csv").read_text() == (tmp_path / "cpu" / "log.csv").read_text()
    scores, same = (read_table(tmp_path / device / "epochs.csv") for device in ("cpu", "gpu"))
    assert [k for k in scores if k != "seconds" and (scores[k] != same[k]).any()] == []
    here, there = (Checkpoint.load(tmp_path / device / "checkpoint.npz") for device in ("cpu", "gpu"))
    for name, value in (here.rule | {"theta": here.theta}).items():
        np.testing.assert_array_equal((there.rule | {"theta": there.theta})[name], value)
    saved = 3 * sum(
        getattr(value, "ndim", None) is not None and value.dtype.kind == "f" for value in here.rule.values()
    )
    per_epoch = 3 + 1 + 1 + 1  # scores of three parts, the log, whether all was finite, and whether theta is
    assert sum(seen.waits.values()) <= 2 * per_epoch + saved + 3
    steps = 2 * 11
    once = 6 + 1 + 2 + 2 + len(here.rule)  # parts, theta, scales, the indices before the first step, the rule's state
    assert seen.uploads["asarray"] <= steps + once


def test_a_run_that_began_here_goes_on_on_a_device_and_back(double, tmp_path):
    path = tmp_path / "checkpoint.npz"
    whole = fit(options(epochs=3), SPSMax(), tmp_path / "whole").rows
    fit(options(epochs=1), SPSMax(), tmp_path)
    with strict.watch(may_wait=True):
        fit(options(epochs=2, device="gpu"), SPSMax(), tmp_path, Checkpoint.load(path))
    last = fit(options(epochs=3), SPSMax(), tmp_path, Checkpoint.load(path)).rows
    assert last[0][:5] == whole[-1][:5]


def test_a_run_that_diverges_on_a_device_says_from_which_step_on(double, tmp_path):
    with strict.watch(may_wait=True), pytest.raises(NonFiniteError, match="not finite from step") as caught:
        fit(options(device="gpu"), GradientDescent(lr=1e30), tmp_path)
    assert 1 < caught.value.step < 11
    assert len(read_table(tmp_path / "log.csv")["loss"]) == 12 - 1, "an epoch but for the step whose end found it"


def test_a_long_vector_is_no_other_on_a_device():
    """Beyond the size at which a CPU goes in tiles."""
    x = np.random.default_rng(0).standard_normal(arrays.TILE + 5).astype(np.float32)
    formula = arrays.elementwise(lambda x, c: (x * c, x - c))
    for here, there in zip(formula(x, 0.3), formula(strict.asarray(x), 0.3), strict=True):
        np.testing.assert_array_equal(strict.read(there), here)
