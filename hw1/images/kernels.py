"""Products, layers and roots that gave the same bytes on every CPU tried, beside those of torch that did not.

torch gives float32 products to MKL, whose bytes depend on the CPU's vendor unless MKL_CBWR is COMPATIBLE; then they
take two to four times as long. oneDNN's were equal on all CPUs tried (docs/numerics.md) and take no longer. They are
reached here alone, through one of torch's private operators; a torch without it multiplies by MKL, and
:func:`by_onednn` says so.
"""

import sys

import torch
from torch import Tensor, nn

OPERATOR = "_linear_pointwise"  # of torch.ops.mkldnn
ONEDNN_IMAGES = 16  # in a batch, from which on torch gives 1x1 convolutions to oneDNN whatever the threads
LARGE_KERNEL = 7  # pixels


def product(rows: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """rows @ weight.T + bias by oneDNN: (M, K), (N, K), (N,) -> (M, N), float32 on the CPU, without a gradient."""
    if not hasattr(torch.ops.mkldnn, OPERATOR):
        return nn.functional.linear(rows, weight, bias)
    return torch.ops.mkldnn._linear_pointwise(_dense(rows), _dense(weight), bias, "none", [], "")


def _dense(matrix: Tensor) -> Tensor:
    """The matrix by rows or by columns without gaps: oneDNN takes a hundred times as long over any other."""
    return matrix if matrix.is_contiguous() or matrix.t().is_contiguous() else matrix.contiguous()


def square_root(values: Tensor) -> Tensor:
    """The square root of each value by a power of torch's own, to the last bit but one: ``torch.sqrt`` asks MKL's VML,
    whose roots differ between CPUs.
    """
    return torch.pow(values, torch.full_like(values, 0.5))


class _Linear(torch.autograd.Function):
    """:func:`product` with its gradients, which are products too."""

    @staticmethod
    def forward(context, rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        context.save_for_backward(rows, weight)
        return product(rows, weight, bias)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        rows, weight = context.saved_tensors
        to_rows, to_weight, to_bias = context.needs_input_grad
        return (
            product(gradient, weight.t()) if to_rows else None,
            product(gradient.t(), rows.t()) if to_weight else None,
            gradient.sum(0) if to_bias else None,
        )


class Linear(nn.Linear):
    """A linear layer by oneDNN: (..., K) -> (..., N)."""

    def forward(self, inputs: Tensor) -> Tensor:
        rows = inputs.reshape(-1, self.in_features)
        return _Linear.apply(rows, self.weight, self.bias).view(*inputs.shape[:-1], self.out_features)


class Conv2d(nn.Conv2d):
    """A convolution that is a product wherever torch's own is slow, or differs between CPUs: (N, K, H, W) -> (N, L, H',
    W'), for one group and no dilation.

    - Its result is one pixel: a linear layer over the pixels that its kernel meets. By AVX2 alone oneDNN would pack all
      of the kernel, padding's part included: ResNet10's last convolutions took half of a step.
    - 1x1 by one thread on fewer than 16 images: torch would ask MKL.
    - A kernel of 7x7 or more of stride 1: oneDNN sums its gradient in blocks as large as the CPU's caches allow, and an
      Intel Haswell and an AMD EPYC-Rome part there (64 to 512 channels).
    """

    def forward(self, images: Tensor) -> Tensor:
        pads, kernel, strides = self.padding, self.kernel_size, self.stride
        height, width = (
            (side + 2 * pad - size) // stride + 1
            for side, pad, size, stride in zip(images.shape[2:], pads, kernel, strides, strict=True)
        )
        if (height, width) == (1, 1):
            met = [slice(pad, pad + side) for pad, side in zip(pads, images.shape[2:], strict=True)]
            weight = self.weight[:, :, met[0], met[1]]
            windows = images[:, :, : weight.shape[2], : weight.shape[3]].flatten(1)
        elif kernel == (1, 1) and strides == (1, 1) and len(images) < ONEDNN_IMAGES and torch.get_num_threads() == 1:
            weight, windows = self.weight, images.permute(0, 2, 3, 1).flatten(0, 2)
        elif min(kernel) >= LARGE_KERNEL and strides == (1, 1):
            weight = self.weight
            windows = nn.functional.unfold(images, kernel, padding=pads).transpose(1, 2).flatten(0, 1)
        else:
            return super().forward(images)
        result = _Linear.apply(windows, weight.flatten(1), self.bias)
        return result.view(len(images), height, width, self.out_channels).permute(0, 3, 1, 2)


def by_onednn(module: nn.Module) -> nn.Module:
    """The module with its linear layers and convolutions as those of this file; parameters and their names stay.

    Where this torch has no such operator the module stays as it is, and a line on stderr says what that costs.
    """
    if not hasattr(torch.ops.mkldnn, OPERATOR):
        cost = "linear layers take MKL's compatible way, two to four times as long"
        print(f"runtime.numerics: torch {torch.__version__} has no mkldnn::{OPERATOR}; {cost}", file=sys.stderr)
        return module
    for part in module.modules():
        if type(part) is nn.Linear:
            part.__class__ = Linear
        elif type(part) is nn.Conv2d and part.groups == 1 and part.dilation == (1, 1) and part.padding_mode == "zeros":
            part.__class__ = Conv2d
    return module
