"""PyTorch's side of `updates`: steps of one of its optimizers, on request, for a Python that has PyTorch and NumPy."""

import json
import sys

import torch

from tests.bench.steps import answer


def steps(name, options, foreach, sizes):
    """Return a function that takes a step of torch.optim's `name` on parameters of these sizes."""
    parameters = [torch.zeros(size, requires_grad=True) for size in sizes]
    for parameter in parameters:
        parameter.grad = 0.01 * torch.randn(parameter.shape)
    optimizer = getattr(torch.optim, name)(parameters, foreach=foreach, **options)
    return lambda: optimizer.step() or 0.0


answer(steps(*json.loads(sys.argv[-1])))
