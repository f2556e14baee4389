"""Tell whether the results here are a commit's, to the byte: ``python -m hw1.experiments.reproduction [REV]``.

REV is a commit, branch or tag, by default HEAD. Outputs that git keeps are compared by their bytes, all others by the
hashes in dvc.lock. Where some differ, the causes are named that the two dvc.lock tell, and each headline number stands
beside the committed one, with the paired test on the same validation images and the deviation over the kept seeds.
"""

import argparse
import csv
import io
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw1.report.summary import Headline, read_metrics, results
from hw1.run.errors import InputError
from hw1.run.numerics import obstacles
from hw1.run.supervision import run_stage
from hw1.run.whereabouts import record_of
from hw1.run.yaml_reader import parse_yaml

if TYPE_CHECKING:
    import pandas as pd

LOCK = "dvc.lock"
KEPT = ("metrics", "plots")  # folders of the outputs that git keeps
SHOWN = 10  # names in a list, before it counts


@dataclass(frozen=True)
class LockedStage:
    """One stage of a dvc.lock: its command, parameters by file and dotted path, and hashes by path."""

    command: str
    parameters: Mapping[tuple[str, str], Any]
    reads: Mapping[str, str]
    writes: Mapping[str, str]

    @classmethod
    def of(cls, entry: Mapping[str, Any]) -> "LockedStage":
        parameters = {
            (file, key): value for file, values in entry.get("params", {}).items() for key, value in _flat(values, "")
        }
        reads, writes = (
            {each["path"]: each.get("md5", "") for each in entry.get(kind, ())} for kind in ("deps", "outs")
        )
        return cls(entry["cmd"], parameters, reads, writes)


Stages = Mapping[str, LockedStage]


def stages_of(lock: bytes, name: str) -> dict[str, LockedStage]:
    """The stages of a dvc.lock; InputError if it is none."""
    try:
        return {stage: LockedStage.of(entry) for stage, entry in parse_yaml(lock, name)["stages"].items()}
    except (KeyError, TypeError, AttributeError):
        raise InputError(f"{name}: not a dvc.lock; run `dvc repro`") from None


def _flat(values: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(values, Mapping):
        for key, value in values.items():
            yield from _flat(value, f"{path}.{key}" if path else key)
    else:
        yield path, values


# -- what differs


@dataclass
class DifferingOutputs:
    """Outputs that are not the commit's, by stage; those that only one side has count too."""

    outputs: int  # of both sides
    by_stage: dict[str, list[str]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return sum(map(len, self.by_stage.values()))


def difference(here: Stages, there: Stages, changed: set[str], kept: set[str]) -> DifferingOutputs:
    """Compare outputs: those among the files ``kept`` by git differ where ``changed`` names a file of theirs."""
    found = DifferingOutputs(0)
    for name in dict.fromkeys([*there, *here]):
        ours, theirs = (side[name].writes if name in side else {} for side in (here, there))
        for path in dict.fromkeys([*theirs, *ours]):
            found.outputs += 1
            if path in ours and path in theirs and any(_within(file, path) for file in kept):
                files = sorted(file for file in changed if _within(file, path))
            else:
                files = [] if ours.get(path) == theirs.get(path) else [path]
            if files:
                shown = path if files == [path] else f"{path} ({_listed(files)})"
                found.by_stage.setdefault(name, []).append(shown)
    return found


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder}/")


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


# -- why


def causes(here: Stages, there: Stages, differing: Mapping[str, list[str]]) -> list[str]:
    """A line for each kind of input that differs, without what other stages made; and what the machine may have done
    where a stage's outputs differ and its inputs do not.
    """
    made = {path for side in (here, there) for stage in side.values() for path in stage.writes}
    changes: dict[str, dict[str, None]] = {}  # lines by kind, in order, each once

    def note(kind: str, text: str) -> None:
        changes.setdefault(kind, {})[text] = None

    unexplained = []
    for name in dict.fromkeys([*there, *here]):
        if name not in here or name not in there:
            note("stages", f"{name} only {'here' if name in here else 'there'}")
            continue
        ours, theirs = here[name], there[name]
        if ours.command != theirs.command:
            note("code", "commands of dvc.yaml")
        for file, key in sorted(ours.parameters.keys() | theirs.parameters.keys()):
            values = [side.parameters.get((file, key), "absent") for side in (theirs, ours)]
            if values[0] != values[1]:
                kind = "versions" if file == "environment.json" else "parameters"
                note(kind, f"{key} {values[0]} -> {values[1]}")
        for path in sorted(ours.reads.keys() | theirs.reads.keys()):
            if ours.reads.get(path) != theirs.reads.get(path) and not any(
                _within(path, out) or _within(out, path) for out in made
            ):
                note("code" if path.startswith(("hw1/", "stages/")) else "files", path)
        if name in differing and _same_inputs(ours, theirs):
            if name == "download" and ours.writes != theirs.writes:
                note("data", "the archive is another")
            else:
                unexplained.append(name)
    lines = [f"{kind}: {_listed(list(texts))}" for kind, texts in changes.items()]
    return lines + [f"with equal inputs, {_listed(unexplained)}: {reason}" for reason in _machine(here, unexplained)]


def _same_inputs(ours: LockedStage, theirs: LockedStage) -> bool:
    return (ours.command, ours.parameters, ours.reads) == (theirs.command, theirs.parameters, theirs.reads)


def _machine(here: Stages, names: list[str]) -> list[str]:
    """Reasons why equal inputs give other bytes in these stages; none without a stage."""
    if not names:
        return []
    reasons = obstacles()
    for name in names:
        if here[name].parameters.get(("params.yaml", "runtime.numerics")) == "native":
            reasons.append("runtime.numerics is native, so other CPUs round otherwise")
        for path in here[name].writes:
            record = record_of(Path(path)) if path.endswith(".csv") and Path(path).is_file() else None
            if record and "threads" not in record.get("device", "threads"):  # the CPU's name has its threads
                reasons.append(f"trained on {record['device']}")
            if record and int(record.get("ranks", 1)) > 1:
                reasons.append(f"trained by {record['ranks']} ranks")
    return list(dict.fromkeys(reasons)) or ["another C library, or files edited by hand"]


# -- the numbers


def numbers(rev: str, here: list[Headline], there: list[Headline]) -> str:
    """The table of headline numbers that both sides have; "" if all are equal."""
    committed = {row.name: row for row in there}
    rows = [(row, committed[row.name]) for row in here if row.name in committed]
    if all(ours.final == theirs.final for ours, theirs in rows):
        return ""
    deviations = _deviations(rev)
    cells = [("", "committed", "here", "points", "p", "deviation over seeds")]
    for ours, theirs in rows:
        values = [f"{100 * value:.1f} %" for value in (theirs.final, ours.final)]
        points = f"{100 * (ours.final - theirs.final):+.1f}"
        deviation = deviations.get((ours.problem, ours.key))
        spread = "-" if deviation is None else f"{100 * deviation:.1f}"
        cells.append((f"{ours.name} {ours.measure}", *values, points, p_value(rev, ours), spread))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in cells
    ]
    tests = "p: the committed predictions against those here, on the same images (McNemar; mIoU: bootstrap over tiles)"
    return "\n".join([*lines, tests])


def p_value(rev: str, row: Headline) -> str:
    """The paired test of one model's committed predictions against those here, as text."""
    import pandas as pd

    path = f"plots/predictions/{row.problem}.csv"
    ours = pd.read_csv(path, dtype={"image": str})
    theirs = pd.read_csv(io.BytesIO(_show(rev, path) or b""), dtype={"image": str})
    paired = _paired_tiles if row.problem == "p3" else _paired_images
    p = paired(ours, theirs, row.key)
    return "other images" if p is None else f"{p:.2g}"


def _paired_images(ours: "pd.DataFrame", theirs: "pd.DataFrame", model: str) -> float | None:
    from hw1.statistics.comparison import accuracy_pairs

    if not ours[["image", "label"]].equals(theirs[["image", "label"]]):
        return None
    (pair,) = accuracy_pairs("", ours[["image", "label"]].assign(here=ours[model], committed=theirs[model]))
    return pair["p_mcnemar"]


def _paired_tiles(ours: "pd.DataFrame", theirs: "pd.DataFrame", model: str) -> float | None:
    import pandas as pd

    from hw1.statistics.comparison import iou_pairs, ious_of

    sides = [side[side["model"] == model].reset_index(drop=True) for side in (ours, theirs)]
    truth = ["image", "class", "truth", "pixels"]
    if not sides[0][truth].equals(sides[1][truth]):
        return None
    both = pd.concat([side.assign(model=name) for side, name in zip(sides, ("here", "committed"), strict=True)])
    return next(row["p_bootstrap"] for row in iou_pairs(ious_of(both)) if row["measure"] == "miou")


def _deviations(rev: str) -> dict[tuple[str, str], float]:
    """Of each model over the commit's kept seeds; none where it kept none."""
    table = _show(rev, "plots/statistics/seeds.csv") or b""
    return {(row["problem"], row["model"]): float(row["std"]) for row in csv.DictReader(io.StringIO(table.decode()))}


# -- git


def _git(*arguments: str) -> bytes | None:
    """What a git command prints; None if it fails, or there is no git."""
    try:
        return subprocess.run(["git", *arguments], capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None


def _show(rev: str, path: str) -> bytes | None:
    return _git("show", f"{rev}:./{path}")


def _names(*arguments: str) -> set[str]:
    return {name for name in (_git(*arguments, "-z", "--", *KEPT) or b"").decode().split("\0") if name}


def verdict(rev: str) -> str:
    """The whole text; InputError for a revision that is none, or without results."""
    commit = (_git("rev-parse", "--short", f"{rev}^{{commit}}") or b"").decode().strip()
    if not commit:
        raise InputError(f"{rev}: no such commit, branch or tag")
    lock = _show(commit, LOCK)
    if lock is None:
        raise InputError(f"{rev}: has no {LOCK}, so no results to compare with")
    if not Path(LOCK).is_file():
        raise InputError(f"{LOCK}: not there; run `dvc repro` first")
    here, there = stages_of(Path(LOCK).read_bytes(), LOCK), stages_of(lock, f"{rev}:{LOCK}")
    changed = _names("diff", "--relative", "--name-only", commit) | _names("ls-files", "--others", "--exclude-standard")
    found = difference(here, there, changed, _names("ls-tree", "-r", "--name-only", commit))
    name = rev if commit.startswith(rev) or rev.startswith(commit) else f"{rev} {commit}"
    if not found.count:
        return f"all {found.outputs} outputs are as committed ({name}), byte for byte"
    lines = [f"{found.outputs - found.count} of {found.outputs} outputs are as committed ({name}); others:"]
    lines += [f"  {stage}: {_listed(paths)}" for stage, paths in found.by_stage.items()]
    lines += ["why that may be:", *(f"  {line}" for line in causes(here, there, found.by_stage))]
    metrics = {problem: json.loads(_show(commit, f"metrics/{problem}.json") or "{}") for problem in ("p1", "p2", "p3")}
    table = numbers(commit, results(read_metrics(Path("metrics"))), results(metrics) if all(metrics.values()) else [])
    return "\n".join([*lines, table or "no headline number differs"])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m hw1.experiments.reproduction",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rev", nargs="?", help="commit, branch or tag to compare with (default: HEAD)")
    args = parser.parse_args()
    if args.rev is None and _git("rev-parse", "--verify", "HEAD") is None:
        print("no commit here to compare the results with")
        return
    print(verdict(args.rev or "HEAD"))


if __name__ == "__main__":
    run_stage(main)
