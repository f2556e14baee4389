"""The stand-in for torch's compiler: what it answers, and how it gives way."""

import json
import os
import subprocess
import sys

from closure import ROOT

from hw1.run.environment import installed


def output(program: str, cwd=ROOT) -> list[str]:
    command = [sys.executable, "-c", program]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=True).stdout.split()


def test_stand_in_is_all_that_a_network_an_optimiser_and_its_step_need():
    program = (
        "from hw1.run.processes.compiler import stand_in; stand_in()\n"
        "import torch, sys\n"
        "from torchvision.models import resnet18\n"
        "network = torch.nn.Linear(2, 2)\n"
        "optimiser = torch.optim.Adam(network.parameters(), fused=True)\n"
        "network(torch.ones(1, 2)).sum().backward(); optimiser.step(); optimiser.zero_grad()\n"
        "print(type(sys.modules['torch._dynamo']).__name__, 'sympy' in sys.modules)"
    )
    assert output(program) == ["_StandIn", "False"]


def test_stand_in_gives_way_to_the_compiler_when_it_is_asked_for_more():
    program = (
        "from hw1.run.processes.compiler import stand_in; stand_in()\n"
        "import torch, sys\n"
        "import torchvision\n"
        "print(torch.compile(lambda x: x + 1, backend='eager')(torch.ones(1)).item())\n"
        "print(type(sys.modules['torch._dynamo']).__name__)"
    )
    assert output(program) == ["2.0", "module"]


def test_another_torch_than_the_one_tried_keeps_its_compiler(tmp_path):
    program = "from hw1.run.processes.compiler import leave_out; leave_out()\n"
    program += "import sys; print('torch._dynamo' in sys.modules)"
    (tmp_path / "environment.json").write_text(json.dumps(installed()))
    assert output(program, tmp_path) == ["True"]
    (tmp_path / "environment.json").write_text(json.dumps(installed() | {"torch": "2.11.0"}))
    assert output(program, tmp_path) == ["False"]
