"""A stand-in for torch's compiler, which takes 1.3 s to import and which no stage uses.

torchvision, torch.optim and DistributedDataParallel import it only to ask whether it is at work. The stand-in says no;
asked for anything else, it gives way to the compiler itself.
"""

import importlib
import sys
from importlib import metadata
from types import ModuleType, SimpleNamespace
from typing import Any

from hw1.run.environment import recorded

ANSWERS: dict[str, dict[str, Any]] = {
    "torch._dynamo": {
        "disable": lambda function, *_, **__: function,
        "graph_break": lambda: None,
        "trace_rules": SimpleNamespace(clear_lru_cache=lambda: None),
    },
    "torch._dynamo.utils": {
        "is_compile_supported": lambda device: False,
        "get_optimize_ddp_mode": lambda: "no_optimization",
    },
}


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and (self.__name__, name) != ("torch._dynamo", "__path__"):  # asked of every module
            raise AttributeError(name)
        for module in ANSWERS:
            if isinstance(sys.modules.get(module), _StandIn):
                del sys.modules[module]
        return getattr(importlib.import_module(self.__name__), name)


def leave_out() -> None:
    """Call :func:`stand_in` where torch is the release that it was tried with, by environment.json."""
    if metadata.version("torch").partition("+")[0] == recorded().get("torch"):
        stand_in()


def stand_in() -> None:
    """Put the stand-in in the compiler's place, unless torch is there already."""
    if "torch" in sys.modules:
        return
    for name, answers in ANSWERS.items():
        sys.modules[name] = _StandIn(name)
        vars(sys.modules[name]).update(answers)
    sys.modules["torch._dynamo"].utils = sys.modules["torch._dynamo.utils"]
