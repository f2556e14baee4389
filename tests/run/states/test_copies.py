"""Copies of nested tensors: what is in them, what they share, and the memory they are made in."""

import io

import torch
from torch import nn

from hw1.run.states.copies import Copies


def trained():
    """The state of a network with a shared weight, one in channels_last, and Adam's numbers."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 4), nn.Linear(4, 16))
    network[4].weight.data = network[3].weight.data.t()
    network.to(memory_format=torch.channels_last)
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.randn(2, 3, 4, 4)).sum().backward()
    optimiser.step()
    state = {"network": network.state_dict(), "optimiser": optimiser.state_dict(), "rows": [{"epoch": 1}], "none": None}
    return state | {"generator": torch.get_rng_state(), "pair": (torch.arange(3), 0.5), "empty": torch.empty(0)}


def saved(state):
    file = io.BytesIO()
    torch.save(state, file)
    return file.getvalue()


def tensors_of(state):
    return [*state["network"].values(), *(t for part in state["optimiser"]["state"].values() for t in part.values())]


def test_copy_is_written_as_the_same_bytes_whatever_happens_to_what_it_copies():
    state = trained()
    before = saved(state)
    copy, ready = Copies().take(state)
    ready()
    for tensor in (*tensors_of(state), state["generator"], state["pair"][0]):
        tensor.zero_()
    state["rows"][0]["epoch"] = 2
    state["rows"].append({})
    state["optimiser"]["param_groups"][0]["lr"] = 9.0
    assert saved(copy) == before != saved(state)


def test_tensors_that_share_memory_share_it_in_the_copy():
    weight = torch.arange(12.0).reshape(3, 4)
    copy, _ = Copies().take({"weight": weight, "turned": weight.t(), "row": weight[1]})
    copy["weight"][1, 2] = -1
    assert copy["turned"][2, 1] == copy["row"][2] == -1
    assert weight[1, 2] == 6


def test_next_copy_is_made_in_the_memory_of_the_one_before():
    copies, state = Copies(), trained()
    first, _ = copies.take(state)
    places = {tensor.untyped_storage().data_ptr() for tensor in tensors_of(first)}
    for tensor in tensors_of(state):
        tensor.add_(1)
    more = torch.ones(7)
    second, _ = copies.take({"more": more, **state})
    assert {tensor.untyped_storage().data_ptr() for tensor in tensors_of(second)} <= places | {0}
    assert all(torch.equal(*pair) for pair in zip(tensors_of(second), tensors_of(state), strict=True))
    assert torch.equal(second["more"], more)


def test_copies_of_a_cpus_tensors_ask_nothing_of_cuda(monkeypatch):
    pinned, empty = [], torch.empty
    monkeypatch.setattr(
        torch, "empty", lambda *a, **options: pinned.append(options.get("pin_memory")) or empty(*a, **options)
    )
    monkeypatch.setattr(torch.cuda, "Event", None)
    monkeypatch.setattr(torch.cuda, "current_stream", None)
    _, ready = Copies().take(trained())
    ready()
    assert False in pinned and True not in pinned
