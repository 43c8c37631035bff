"""Convolutional nets without shortcuts, oldest first: LeNet, AlexNet, VGG.

They end in affine layers on all pixels at once, so a net is made for images of one size. Shapes: images (N, H, W, C),
logits (N, K).
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from .image_layers import BatchNorm, Conv2d, MaxPool2d
from .initial import he_normal_out, lecun_normal, torch_uniform, vgg_normal
from .layers import Dropout, Flatten, Layer, Linear, ReLU, Sequential


def lenet(shape: tuple[int, ...] = (32, 32, 3), classes: int = 10) -> Sequential:
    """LeNet-5 for CIFAR: 62,006 parameters, as in table 2 of Liang et al.; for MNIST, 28 x 28 x 1, it has 61,706.

    LeCun, Bottou, Bengio & Haffner 1998, with ReLU and maxima in place of sigmoids and means, complete connections and
    no Gaussian units. Images of 28 x 28 pixels get a border that makes them 32 x 32, the size it was built for.

    Liang, Xu, Bao, Quan and Ji, "Barzilai-Borwein-based adaptive learning rate for deep learning", section 4.1.2: ReLU,
    and initial weights by LeCun et al. (2012). The paper says nothing of pooling and biases. (ReLU and
    maximum may change places; as they stand ReLU has a quarter of the work.)
    """
    border = 2 if shape[:2] == (28, 28) else 0
    height, width = (((side + 2 * border - 4) // 2 - 4) // 2 for side in _at_least(16, "LeNet-5", shape))
    return Sequential(
        Conv2d(shape[2], 6, 5, padding=border, weight=lecun_normal), MaxPool2d(2), ReLU(),
        Conv2d(6, 16, 5, weight=lecun_normal), MaxPool2d(2), ReLU(),
        Flatten(),
        Linear(16 * height * width, 120, lecun_normal), ReLU(),
        Linear(120, 84, lecun_normal), ReLU(),
        Linear(84, classes, lecun_normal),
    )  # fmt: skip


def alexnet(shape: tuple[int, ...] = (32, 32, 3), classes: int = 10) -> Sequential:
    """AlexNet for CIFAR: 23,272,266 parameters.

    King, "Using the Polyak step size in training convolutional neural networks": its tables of set-ups, in section 4.2,
    have not come down to us, so this need not be its net. It is the usual one for 32 x 32 pixels: the convolutions of
    Krizhevsky 2014 (arXiv:1404.5997; 64, 192, 384, 256 and 256 channels) with 3 x 3 windows, the first at stride 2,
    three pools by 2, and two layers of 4096 units behind dropouts of 0.5. Initial weights: PyTorch's default.

    Krizhevsky, Sutskever & Hinton 2012, "ImageNet classification with deep convolutional neural networks", has windows
    of 11, 5 and 3 pixels, overlapping pools, and normalises across channels.
    """
    conv = partial(Conv2d, weight=torch_uniform, bias=torch_uniform)
    affine = partial(Linear, weight=torch_uniform, bias=torch_uniform)
    height, width = ((side + 1) // 2 // 8 for side in _at_least(15, "AlexNet", shape))
    return Sequential(
        conv(shape[2], 64, 3, stride=2, padding=1), ReLU(), MaxPool2d(2),
        conv(64, 192, 3, padding=1), ReLU(), MaxPool2d(2),
        conv(192, 384, 3, padding=1), ReLU(),
        conv(384, 256, 3, padding=1), ReLU(),
        conv(256, 256, 3, padding=1), ReLU(), MaxPool2d(2),
        Flatten(),
        Dropout(0.5), affine(256 * height * width, 4096), ReLU(),
        Dropout(0.5), affine(4096, 4096), ReLU(),
        affine(4096, classes),
    )  # fmt: skip


def vgg11(shape: tuple[int, ...] = (32, 32, 3), classes: int = 10) -> Sequential:
    """VGG-11 with batch norm for CIFAR: 9,756,426 parameters, as in table 2 of Liang et al.

    Simonyan & Zisserman 2015, column A (arXiv:1409.1556), with batch norm. The count, and the table's fully connected
    units 512, 512, 512 (the inputs of each layer, as LeNet's 400, 120, 84), say what the text does not: at 32 x 32
    pixels the classifier is 512-512-512-10, and convolutions keep their biases (whose gradient is 0 up to rounding,
    since batch norm takes them away again). Dropout is not mentioned: none here; the usual net of this size has two
    layers of it, at 0.5.

    Convolutions start from He's normal law (section 4.1.2, which leaves fan_in or fan_out open: fan_out, as in the
    authors' code), affine layers, there "as in the original paper", from `vgg_normal`, biases from 0.
    """
    inputs, layers = shape[2], list[Layer]()
    for stage in ((64,), (128,), (256, 256), (512, 512), (512, 512)):
        for channels in stage:
            layers += [Conv2d(inputs, channels, 3, padding=1, weight=he_normal_out), BatchNorm(channels, relu=True)]
            inputs = channels
        layers.append(MaxPool2d(2))
    height, width = (side // 32 for side in _at_least(32, "VGG-11", shape))
    sizes = [512 * height * width, 512, 512, classes]
    first, second, last = (Linear(a, b, vgg_normal) for a, b in pairwise(sizes))
    return Sequential(*layers, Flatten(), first, ReLU(), second, ReLU(), last)


def _at_least(side: int, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Return (H, W) of images of a shape (H, W, C), if something is left of them behind the last pool."""
    if len(shape) != 3 or min(shape[:2]) < side:
        raise ValueError(f"{name} needs images (H, W, C) of at least {side} x {side} pixels, got shape {shape}")
    return shape[:2]
