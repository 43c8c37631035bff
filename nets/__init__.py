"""A network stack small enough to read in an evening.

In reading order:

    tensor    a value that knows where it came from; `backward`
    ops       each operation: value and vector-Jacobian product side by side
    conv      windows of images: convolution and pooling, and their adjoints
    initial   the laws of initial weights
    layers    Linear, activations, Dropout, Flatten, Sequential; image_layers: Conv2d, BatchNorm, pooling
    engine    memory, threads and tiles of a CPU; tiled_conv, tiled_norm: convolution and batch norm once more, fast
    losses    softmax cross-entropy, squared error
    flat      all parameters in one vector theta: named views, gradients written in place, save and load
    models    multilayer perceptrons, and all nets by name; cnn: LeNet, AlexNet, VGG; resnet: residual nets;
              and how each paper's differs
    oracle    a net and its mini-batches as an oracle
    data      data sets: found, verified, split, measured; augment: images a little different each time
    train     the loop around `refopt.descend`; options, logs and checkpoint beside it
    sweep     many runs, side by side, each to its end; spread: what came of them
    cli       the command line
"""

from . import conv, ops
from .cnn import alexnet, lenet, vgg11
from .flat import Layout
from .image_layers import AvgPool2d, BatchNorm, Conv2d, GlobalAvgPool, MaxPool2d
from .initial import (
    glorot_normal,
    glorot_uniform,
    he_normal,
    he_normal_out,
    lecun_normal,
    ones,
    torch_uniform,
    vgg_normal,
    zeros,
)
from .layers import Dropout, Flatten, Layer, Linear, Mode, ReLU, Sequential, Sigmoid, Tanh
from .losses import check_labels, softmax_cross_entropy, squared_error
from .models import MODELS, liang_mlp, mlp, named, retsinas_mlp, small_mlp
from .resnet import (
    BasicBlock,
    Bottleneck,
    PreActivation,
    imagenet_stem,
    resnet,
    resnet18,
    resnet34,
    resnet50,
    small_stem,
    wide_resnet,
    wrn_16_4,
)
from .tensor import Parameter, Tensor

__all__ = [
    "MODELS",
    "AvgPool2d",
    "BasicBlock",
    "BatchNorm",
    "Bottleneck",
    "Conv2d",
    "Dropout",
    "Flatten",
    "GlobalAvgPool",
    "Layer",
    "Layout",
    "Linear",
    "MaxPool2d",
    "Mode",
    "Parameter",
    "PreActivation",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "Tensor",
    "alexnet",
    "check_labels",
    "conv",
    "glorot_normal",
    "glorot_uniform",
    "he_normal",
    "he_normal_out",
    "imagenet_stem",
    "lecun_normal",
    "lenet",
    "liang_mlp",
    "mlp",
    "named",
    "ones",
    "ops",
    "resnet",
    "resnet18",
    "resnet34",
    "resnet50",
    "retsinas_mlp",
    "small_mlp",
    "small_stem",
    "softmax_cross_entropy",
    "squared_error",
    "torch_uniform",
    "vgg11",
    "vgg_normal",
    "wide_resnet",
    "wrn_16_4",
    "zeros",
]
