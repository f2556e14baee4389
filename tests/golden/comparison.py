"""Two traces (trace.py) compared: where do they part first?"""

from collections.abc import Iterator
from itertools import zip_longest

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
