"""torch.compile by parameter, with a way back where it does not work."""

import contextlib
import sys
from collections.abc import Callable, Iterator

import torch
from torch import Generator, nn

from hw1.ranks import world
from hw1.runtime import Machine

MODES = {"default": "default", "cuda_graphs": "reduce-overhead"}


def compile_network(network: nn.Module, machine: Machine, generator: Generator, trial: Callable[[], None]) -> None:
    """Compile ``network`` in place as ``machine.compile`` says, or say on stderr why it runs as it is.

    ``trial`` makes one training step's forward and backward pass with the network; it leaves no
    gradients, statistics or draws behind, so that the training after it is the one without it.
    """
    if machine.compile == "none":
        return
    if world() > 1:
        _tell(machine, "BatchNorm there speaks to other ranks")
        return
    if machine.compile == "cuda_graphs" and machine.device.type != "cuda":
        _tell(machine, f"there are none on {machine.name}")
        return
    network.compile(mode=MODES[machine.compile])
    try:
        with _leaving_no_trace(network, machine, generator):
            trial()
    except Exception as error:  # compilers raise whatever they meet
        undo(network)
        _tell(machine, (str(error).strip() or type(error).__name__).splitlines()[0])


def undo(network: nn.Module) -> None:
    """Let ``network`` run uncompiled from now on."""
    network._compiled_call_impl = None


@contextlib.contextmanager
def _leaving_no_trace(network: nn.Module, machine: Machine, generator: Generator) -> Iterator[None]:
    draws, buffers = generator.get_state(), [buffer.clone() for buffer in network.buffers()]
    with torch.random.fork_rng([machine.device] if machine.device.type == "cuda" else []):
        try:
            yield
        finally:
            generator.set_state(draws)
            network.zero_grad(set_to_none=True)
            for buffer, before in zip(network.buffers(), buffers, strict=True):
                buffer.copy_(before)


def _tell(machine: Machine, reason: str) -> None:
    print(f"runtime.compile: {machine.compile} does not work here, going on without it: {reason}", file=sys.stderr)
