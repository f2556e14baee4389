"""Every stage computes what it did when digests.txt was written, on whatever CPU this is; and on emulated ones.

So every run of the tests is a trial of the promise that results are the same bytes on every x86-64 CPU with AVX2. A
change that is meant to change results writes the digests anew: ``make golden``.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import pytest

from hw1.run.environment import differing, installed, recorded
from hw1.run.processes.numerics import obstacles

FOLDER = Path(__file__).parent
GOLDEN = (FOLDER / "digests.txt").read_text(encoding="utf-8")
QEMU = shutil.which("qemu-x86_64")
CPUS = ("Haswell", "EPYC-Rome")  # an Intel and an AMD one, with AVX2, other caches, and without AVX-512
WHOLE = "NEEDS_CHIPS" in os.environ  # make test-chips: every stage; else, where there is an emulator, one on the first
QUICK = ("start@P3B",)
others = differing(recorded(), installed())
pytestmark = [
    pytest.mark.skipif(bool(obstacles()), reason=f"numerics are not portable here: {'; '.join(obstacles())}"),
    pytest.mark.skipif(bool(others), reason=f"other versions than the digests are of: {others}"),
]


# -- two traces (trace.py) compared: where do they part first?

Entry = tuple[str, str, str, str]  # stage, moment, name of a tensor or file, digest


def entries(lines: list[str]) -> Iterator[Entry]:
    """Every digest in the lines of a stage, in their order."""
    names: list[str] = []
    for line in lines:
        stage, moment, text = line.split(" | ")
        if moment == "tensors":
            names = text.split()
        elif moment == "outputs":
            yield from ((stage, moment, *field.rsplit("=", 1)) for field in text.split())
        else:
            yield from ((stage, moment, name, value) for name, value in zip(names, text.split(), strict=True))


def of_stages(trace: str) -> dict[str, list[str]]:
    """The lines of each stage, in the order of the run."""
    stages: dict[str, list[str]] = {}
    for line in trace.splitlines():
        stages.setdefault(line.partition(" | ")[0], []).append(line)
    return stages


def first_difference(golden: str, trace: str) -> str:
    """The first stage, step and tensor, or file, in which a trace of some stages is not the golden one; "" if none."""
    expected = of_stages(golden)
    for stage, lines in of_stages(trace).items():
        pairs = zip_longest(entries(expected.get(stage, [])), entries(lines))
        for wanted, computed in pairs:
            if wanted != computed:
                return f"{_text(computed)}, was {_text(wanted)}"
    return ""


def _text(entry: Entry | None) -> str:
    return "nothing" if entry is None else "{}, {}: {} {}".format(*entry)


# -- the stages


def trace_of(*launcher: str, path: Path, stages: tuple[str, ...] = (), **variables: str) -> str:
    """The trace of a run, by a Python behind ``launcher``."""
    command = [*launcher, os.path.realpath(sys.executable), FOLDER / "trace.py", path, *stages]
    packages = os.pathsep.join(folder for folder in sys.path if folder.endswith("site-packages"))
    environment = os.environ | {"PYTHONPATH": packages} | variables
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stderr[-4000:]
    return path.read_text(encoding="utf-8")


def test_every_stage_computes_the_golden_bytes_whatever_the_user_has_set(tmp_path):
    user = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "2")
    user |= {"MKL_CBWR": "AUTO", "ATEN_CPU_CAPABILITY": "default", "ONEDNN_DEFAULT_FPMATH_MODE": "BF16"}
    trace = trace_of(path=tmp_path / "trace.txt", **user)
    assert first_difference(GOLDEN, trace) == ""
    assert of_stages(trace).keys() == of_stages(GOLDEN).keys()


@pytest.mark.skipif(QEMU is None and not WHOLE, reason="needs qemu-x86_64: make test-chips")
@pytest.mark.parametrize("cpu", CPUS if WHOLE else CPUS[:1])
def test_stages_compute_the_golden_bytes_on_an_emulated(cpu, tmp_path):
    launcher = (QEMU or "qemu-x86_64", "-cpu", cpu)
    trace = trace_of(*launcher, path=tmp_path / "trace.txt", stages=() if WHOLE else QUICK)
    assert first_difference(GOLDEN, trace) == ""
    assert of_stages(trace).keys() >= ({*of_stages(GOLDEN)} if WHOLE else {*QUICK})


STEPS = "A | tensors | images loss\nA | step 1 | aa11 bb22\nA | step 2 | cc33 dd44\nA | outputs | a.csv=12 b.csv=34\n"


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("bb22", "bb23", "A, step 1: loss bb23, was A, step 1: loss bb22"),
        ("b.csv=34", "b.csv=35", "A, outputs: b.csv 35, was A, outputs: b.csv 34"),
        ("b.csv=34", "", "nothing, was A, outputs: b.csv 34"),
        ("A | step 2 | cc33 dd44\n", "", "A, outputs: a.csv 12, was A, step 2: images cc33"),
        ("loss", "norm", "A, step 1: norm bb22, was A, step 1: loss bb22"),
        ("A | ", "B | ", "B, step 1: images aa11, was nothing"),
    ],
)
def test_first_difference_names_stage_step_and_tensor(old, new, told):
    assert first_difference(STEPS, STEPS) == ""
    assert first_difference(STEPS, STEPS.replace(old, new)) == told
