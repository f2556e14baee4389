"""torch.compile by parameter and its fallback."""

import dataclasses
import shutil

import pytest
import torch
from torch import nn

from hw1.runtime import Machine
from hw1.train.compilation import compile_network

CPU = Machine(torch.device("cpu"), None, 0.5)


class Noisy(nn.Module):
    """Draws from every source of randomness a network may use, and keeps statistics."""

    def __init__(self):
        super().__init__()
        self.linear, self.norm, self.dropout = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)

    def forward(self, rows):
        return self.dropout(self.norm(self.linear(rows)))


def state(network, generator):
    return [*(tensor.clone() for tensor in network.state_dict().values()), generator.get_state(), torch.get_rng_state()]


def compiled(mode, trial_of=None):
    """A network compiled in ``mode``, whether its trial left no trace, and how often it was tried."""
    torch.manual_seed(0)
    network, generator, tries = Noisy(), torch.Generator(), []

    def trial():
        tries.append(torch.rand(1, generator=generator))
        network(torch.ones(3, 4)).sum().backward()

    before = state(network, generator)
    compile_network(network, dataclasses.replace(CPU, compile=mode), generator, trial_of or trial)
    same = all(torch.equal(*pair) for pair in zip(before, state(network, generator), strict=True))
    return network, same and all(parameter.grad is None for parameter in network.parameters()), len(tries)


def test_none_leaves_the_network_alone(capsys):
    network, untouched, tries = compiled("none")
    assert network._compiled_call_impl is None
    assert (untouched, tries) == (True, 0)
    assert capsys.readouterr().err == ""


def test_graphs_without_a_gpu_are_refused_in_one_line(capsys):
    network, untouched, tries = compiled("cuda_graphs")
    assert network._compiled_call_impl is None
    assert (untouched, tries) == (True, 0)
    line = capsys.readouterr().err
    assert line.startswith("runtime.compile: cuda_graphs does not work here, going on without it: ")
    assert line.count("\n") == 1


def test_compiler_that_fails_is_told_and_undone(capsys, monkeypatch):
    def refuse(self, mode):
        self._compiled_call_impl = self._call_impl

    def trial():
        raise RuntimeError("no C++ compiler\nlong log")

    monkeypatch.setattr(nn.Module, "compile", refuse)
    network, untouched, _ = compiled("default", trial)
    assert network._compiled_call_impl is None
    assert untouched
    assert capsys.readouterr().err == (
        "runtime.compile: default does not work here, going on without it: no C++ compiler\n"
    )


def test_trial_of_a_compiled_network_leaves_no_trace(monkeypatch):
    monkeypatch.setattr(nn.Module, "compile", lambda self, mode: setattr(self, "_compiled_call_impl", self._call_impl))
    network, untouched, tries = compiled("default")
    assert network._compiled_call_impl is not None
    assert (untouched, tries) == (True, 1)


@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
def test_compiled_network_computes_the_same(capfd):
    network, untouched, _ = compiled("default")
    assert network._compiled_call_impl is not None, capfd.readouterr().err
    assert untouched
    network.eval()
    rows = torch.randn(5, 4)
    assert torch.allclose(network(rows), network._call_impl(rows), atol=1e-6)
