"""Imported by every Python process on the fake GPU before its program: torch's convolutions go past cuDNN.

cuDNN asks a real driver for what the fake one does not have. Here a convolution leaves a tensor of the right shape,
type and layout, as all kernels of the fake GPU do, and is counted. Ranks speak by gloo, which takes tensors of a GPU
through main memory: NCCL needs a real one too.
"""

import collections

import torch

convolutions: collections.Counter = collections.Counter()  # forward; backward, one for each gradient
_kernels = torch.library.Library("aten", "IMPL")


def _like_cudnns(images: torch.Tensor, weight: torch.Tensor) -> torch.memory_format:
    rows_last = (
        tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last) and not tensor.is_contiguous()
        for tensor in (images, weight)
    )
    return torch.channels_last if any(rows_last) else torch.contiguous_format


def _convolution(images, weight, bias, *options):
    assert images.dtype == weight.dtype and images.device == weight.device, (images.dtype, weight.dtype)
    convolutions["forward"] += 1
    shape = torch.ops.aten.convolution.default(images.to("meta"), weight.to("meta"), None, *options).shape
    return torch.empty(shape, dtype=images.dtype, device=images.device, memory_format=_like_cudnns(images, weight))


def _convolution_backward(gradient, images, weight, bias_sizes, *options):
    *_, wanted = options
    assert gradient.dtype == images.dtype == weight.dtype, (gradient.dtype, images.dtype, weight.dtype)
    convolutions["backward"] += sum(wanted[:2])
    to_bias = torch.empty(bias_sizes, dtype=weight.dtype, device=weight.device) if wanted[2] else None
    return torch.empty_like(images) if wanted[0] else None, torch.empty_like(weight) if wanted[1] else None, to_bias


torch.backends.cudnn.enabled = False
_kernels.impl("convolution", _convolution, "CUDA")
_kernels.impl("convolution_backward", _convolution_backward, "CUDA")


def _with_gloo(backend, **options):
    assert backend == "cpu:gloo,cuda:nccl", backend
    _init_process_group("gloo", **options)


_init_process_group = torch.distributed.init_process_group
torch.distributed.init_process_group = _with_gloo
