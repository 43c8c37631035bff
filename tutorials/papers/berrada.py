"""Berrada, Zisserman and Kumar's ALI-G with and without momentum and a bound on the weights: their Table 1.

L. Berrada, A. Zisserman, M. P. Kumar 2021, Comment on stochastic Polyak step-size: performance of ALI-G.

The setting (section 2): ResNet-34 on CIFAR-10 and CIFAR-100, by the code of Loizou et al., of ALI-G's hyper-parameters
the largest rate, 0.1, the momentum and the largest norm of the weights as in the table (100 bounds the norm; the r of
section 1 its square), δ = 1e-5 (section 1). The statement is that momentum and the bound together bring 6 and 8
percentage points.

Not in the text, but in that code (github.com/IssamLaradji/sps): 200 epochs in mini-batches of 128, the last partial one
left out; images moved by up to 4 pixels and flipped; channels standardised, there with deviations a fifth to a quarter
below those of the data; no weight decay; validation means the 10,000 test images. The momentum is Nesterov's, as in the
code of ALI-G. Of which epoch the accuracy is, neither says: here of the last, and beside it the best of all.

At `small` WRN-10-1, of 77,850 parameters, stands for ResNet-34. CIFAR-100 is a subset of it there, of 2,000 images to
train and 500 to test, and is looked for only in REFOPT_DATA; at `full` it is the user's own.

What came out at `small`, of two runs of everything that differ in rounding alone, by the order of some sums, after 4
and 12 epochs: momentum helps, 41.6 % and 42.3 % against 30.8 % and 30.9 % on CIFAR-10, and 10.4 % and 9.8 % against 6.4
% and 6.4 % on the subset of CIFAR-100, where 500 test images leave it uncertain by more than one percentage point. The
bound is not what does it: the weights' norm ends at 23.6 at most, far below 100. With LeNet, which has no batch norm,
in its place, momentum hurt: 34.2 % against 43.0 % after 10 epochs on CIFAR-10, means of two runs. At `full` nothing was
run.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from experiment import Part, Row, Scale, Shown, claim, main

from nets.checkpoint import Checkpoint
from nets.options import Options
from nets.sweep import Trial
from refopt import ALIG

TABLE_1 = (
    # data set, method, rate, momentum, largest norm, validation accuracy / %
    ("CIFAR-10", "ALI-G (Loizou et al.)", 0.1, 0.0, None, 87.5),
    ("CIFAR-10", "ALI-G (the note)", 0.1, 0.9, 100.0, 93.5),
    ("CIFAR-100", "ALI-G (Loizou et al.)", 0.1, 0.0, None, 68.0),
    ("CIFAR-100", "ALI-G (the note)", 0.1, 0.9, 100.0, 76.0),
)
DELTA = 1e-5
"""Section 1, "Remark on hyper-parameters"."""

BASE = Options(batch=128, drop_last=True)
RESNET = replace(BASE, model="resnet34", epochs=200, augment="crop-flip")
NARROW = replace(RESNET, model="wrn-10-1")
SCALES: dict[Scale, tuple[dict[str, Options], int]] = {  # what stands for each data set; seeds
    "tiny": (
        {
            "CIFAR-10": replace(BASE, model="mlp", data="digits", epochs=3, samples=400),
            "CIFAR-100": replace(BASE, model="wrn-10-1", data="digits", epochs=1, samples=256),
        },
        2,
    ),
    "small": (
        {
            "CIFAR-10": replace(NARROW, data="cifar10", epochs=4, samples=5000),
            "CIFAR-100": replace(NARROW, data="cifar100-subset", epochs=12),
        },
        1,
    ),
    "full": ({"CIFAR-10": replace(RESNET, data="cifar10"), "CIFAR-100": replace(RESNET, data="cifar100")}, 1),
}


def parts(scale: Scale) -> list[Part]:
    """Return Table 1."""
    options, seeds = SCALES[scale]
    trials = [
        Trial(f"{data}, {method}", replace(options[data], ball=radius, seed=seed), ALIG(rate, momentum, DELTA))
        for data, method, rate, momentum, radius, _accuracy in TABLE_1
        for seed in range(seeds)
    ]
    return [Part("table-1", "Berrada et al., Table 1", trials, show)]


def show(shown: Shown) -> None:
    """Print the table, what the note says of it, and whether the bound on the weights was reached."""
    rows, gains, norms = [], {}, []
    for data, method, *_settings, paper in TABLE_1:
        label = f"{data}, {method}"
        last, best = 100 * shown.last(label, "test_accuracy"), 100 * shown.best(label)
        rows += [Row(f"{label}: last epoch", last, paper), Row(f"{label}: best epoch", best, paper)]
        gains.setdefault(data, []).append((np.nanmean(last), paper))
        norms.append((label, [norm(shown, trial) for trial in shown.part.trials if trial.label == label]))
    shown.compare(rows, "validation accuracy / %")
    for data, (before, after) in gains.items():
        ours, paper = np.subtract(after, before)
        print(f"{data}: momentum and the bound bring {ours:+.1f} percentage points; the note's: {paper:+.1f}")
        claim(f"momentum and the bound help on {data}", ours > 0)
    for label, reached in norms:
        print(f"{label}: norm of the weights at the end {', '.join(f'{value:.1f}' for value in reached)}")


def norm(shown: Shown, trial: Trial) -> float:
    """Return the norm of the weights that a trial ended with."""
    return float(np.linalg.norm(Checkpoint.load(trial.folder(shown.out / "runs") / "checkpoint.npz").theta))


if __name__ == "__main__":
    main(__doc__, parts)
