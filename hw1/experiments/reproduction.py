"""Tell whether the results here are a commit's, to the byte: ``python -m hw1.experiments.reproduction [REV]``.

REV is a commit, branch or tag, by default HEAD. Outputs that git keeps are compared by their bytes, all others by the
hashes in dvc.lock, where they are at hand. Where some differ, the causes are named that the two dvc.lock tell, and each
headline number stands beside the committed one, with the paired test on the same validation images and the deviation
over the kept seeds.
"""

import argparse
import csv
import io
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hw1.report.summary import Headline, read_metrics, results
from hw1.run.errors import InputError
from hw1.run.lockfile import (
    KEPT,
    LockedStage,
    Stages,
    changes,
    declared_stages,
    edited,
    is_source,
    outdated,
    stages_of,
    within,
)
from hw1.run.processes.numerics import obstacles
from hw1.run.processes.supervision import run_stage
from hw1.run.tracking.whereabouts import record_of
from hw1.statistics.published import MEASURE

if TYPE_CHECKING:
    import pandas as pd

LOCK = "dvc.lock"
SEEDS = "plots/statistics/seeds.csv"
SHOWN = 10  # names in a list, before it counts
DATA = ("data", "prepare", "synthetic")  # sections of the parameters


# -- what differs


@dataclass
class DifferingOutputs:
    """Outputs that are not the commit's: by stage and path, the files of it that differ or on which side it is."""

    outputs: int  # of both sides
    by_stage: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def paths(self) -> set[str]:
        return {path for paths in self.by_stage.values() for path in paths}

    def __str__(self) -> str:
        """A line per stage, SHOWN outputs in all."""
        lines, room = [], SHOWN
        for stage, paths in self.by_stage.items():
            named = [f"{path}{remark}" for path, remark in list(paths.items())[:room]]
            lines += [f"  {stage}: {', '.join(named)}"] if named else []
            room -= len(named)
        more = len(self.paths) - SHOWN
        return "\n".join([*lines, f"  and {more} more"] if more > 0 else lines)


def difference(here: Stages, there: Stages, changed: set[str], kept: set[str]) -> DifferingOutputs:
    """Compare outputs: those among the files ``kept`` by git differ where ``changed`` names a file of theirs."""
    ours, theirs = (
        {path: (name, md5) for name, stage in side.items() for path, md5 in stage.writes.items()}
        for side in (here, there)
    )
    paths = list(dict.fromkeys([*theirs, *ours]))
    found = DifferingOutputs(len(paths))
    for path in paths:
        files = sorted(file for file in changed if within(file, path))
        if path not in ours or path not in theirs:
            remark = " (only here)" if path in ours else " (only in the commit)"
        elif not Path(path).exists():
            remark = " (not here)"
        elif any(within(file, path) for file in kept):
            remark = None if not files else "" if files == [path] else f" ({_listed(files)})"
        else:
            remark = "" if ours[path][1] != theirs[path][1] else None
        if remark is not None:
            stage, _ = ours.get(path) or theirs[path]
            found.by_stage.setdefault(stage, {})[path] = remark
    return found


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


# -- why


def causes(here: Stages, there: Stages, found: DifferingOutputs) -> list[str]:
    """A line for each kind of input that differs, without what other stages made; and what happened to a stage's
    outputs where its inputs are equal.
    """
    made = {path for side in (here, there) for stage in side.values() for path in stage.writes}
    by_hand = found.paths & edited(here)
    kinds: dict[str, dict[str, None]] = {}  # texts by kind, in order, each once
    unexplained = []
    for name in dict.fromkeys([*there, *here]):
        if name not in here or name not in there:
            notes = [("stages", f"{name} only {'here' if name in here else 'in the commit'}")]
        else:
            ours, theirs = here[name], there[name]
            notes = list(_inputs(ours, theirs, made))
            other = [path for path, md5 in ours.writes.items() if theirs.writes.get(path) != md5]
            if not notes and other and ours.reads == theirs.reads:
                if name == "download" and ours.parameters.get(("params.yaml", "data.source")) != "synthetic":
                    notes = [("data", "the archive is another")]
                else:
                    unexplained.append(name)
            elif not other:
                paths = [path for path in found.by_stage.get(name, ()) if path not in by_hand and Path(path).exists()]
                notes += [("committed without the dvc.lock of its run", path) for path in paths]
        for kind, text in notes:
            kinds.setdefault(kind, {})[text] = None
    absent = [path for stage in here.values() for path in stage.writes if not Path(path).exists()]
    lines = [f"{len(absent)} are not here: `dvc repro` makes them"] if absent else []
    lines += [f"edited since their stage wrote them: {_listed(sorted(by_hand))}"] if by_hand else []
    lines += [f"{kind}: {_listed(list(texts))}" for kind, texts in kinds.items()]
    reasons = "; ".join(_machine(here, unexplained))
    return lines + ([f"equal inputs gave other outputs in {_listed(unexplained)}: {reasons}"] if unexplained else [])


def _inputs(ours: LockedStage, theirs: LockedStage, made: set[str]) -> Iterator[tuple[str, str]]:
    """Kind and name of each input that differs and that no stage makes."""
    if ours.command != theirs.command:
        yield "code", "commands of dvc.yaml"
    for file, key, text in changes(theirs.parameters, ours.parameters):
        kind = "data" if key.partition(".")[0] in DATA else "parameters"
        yield "versions" if file == "environment.json" else kind, text
    for path in sorted({*ours.reads, *theirs.reads}):
        if ours.reads.get(path) != theirs.reads.get(path) and is_source(path, made):
            yield "code" if path.startswith(("hw1/", "stages/")) else "files", path


def _machine(here: Stages, names: list[str]) -> list[str]:
    """Reasons why equal inputs give other bytes in these stages."""
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
    return list(dict.fromkeys(reasons)) or ["the machine, or its C library"]


# -- the numbers


def numbers(rev: str, here: list[Headline], there: list[Headline]) -> str:
    """The table of headline numbers that both sides have; "" if all are equal."""
    committed = {row.name: row for row in there}
    rows = [(row, committed[row.name]) for row in here if row.name in committed]
    if all(ours.final == theirs.final for ours, theirs in rows):
        return ""
    deviations = _deviations(rev)
    cells = [("", "committed", "here", "difference", "p", "deviation over seeds")]
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
    tests = "the committed predictions against those here, on the same images (McNemar; mIoU: swapped tile by tile)"
    return "\n".join(["", *lines, f"difference, deviation: in points; p: {tests}"])


def p_value(rev: str, row: Headline) -> str:
    """The paired test of one model's committed predictions against those here, as text."""
    import pandas as pd

    path = f"plots/predictions/{row.problem}.csv"
    committed = _show(rev, path)
    if committed is None or not Path(path).is_file():
        return "no predictions"
    ours, theirs = (pd.read_csv(file, dtype={"image": str}) for file in (path, io.BytesIO(committed)))
    paired = _paired_tiles if row.problem == "p3" else _paired_images
    p = paired(ours, theirs, row.key)
    return "other images" if p is None else f"{p:.2g}"


def _paired_images(ours: "pd.DataFrame", theirs: "pd.DataFrame", model: str) -> float | None:
    from hw1.statistics.comparison import accuracy_pairs

    if not ours[["image", "label"]].equals(theirs[["image", "label"]]):
        return None
    (pair,) = accuracy_pairs("", ours[["image", "label"]].assign(here=ours[model], committed=theirs[model]))
    return pair["p"]


def _paired_tiles(ours: "pd.DataFrame", theirs: "pd.DataFrame", model: str) -> float | None:
    import pandas as pd

    from hw1.statistics.comparison import iou_pairs, ious_of

    sides = [side[side["model"] == model].reset_index(drop=True) for side in (ours, theirs)]
    truth = ["image", "class", "truth", "pixels"]
    if not sides[0][truth].equals(sides[1][truth]):
        return None
    both = pd.concat([side.assign(model=name) for side, name in zip(sides, ("here", "committed"), strict=True)])
    return next(row["p"] for row in iou_pairs(ious_of(both)) if row["measure"] == "miou")


def _deviations(rev: str) -> dict[tuple[str, str], float]:
    """Each model's over the seeds that the commit keeps, or else those here; none where neither does."""
    table = _show(rev, SEEDS) or (Path(SEEDS).read_bytes() if Path(SEEDS).is_file() else b"")
    return {(row["problem"], row["model"]): float(row["std"]) for row in csv.DictReader(io.StringIO(table.decode()))}


# -- git


def _git(*arguments: str) -> bytes:
    """Output of a git command; InputError with its own words if it fails, or there is no git."""
    try:
        return subprocess.run(["git", *arguments], capture_output=True, check=True).stdout
    except OSError:
        raise InputError("git is not installed") from None
    except subprocess.CalledProcessError as error:
        words = error.stderr.decode(errors="replace").strip().splitlines() or [f"git {arguments[0]} failed"]
        trust = next((line.strip() for line in words if "safe.directory" in line), "")  # a folder of another user
        raise InputError(words[0].removeprefix("fatal: ") + (f"; run `{trust}`" if trust else "")) from None


def _show(rev: str, path: str) -> bytes | None:
    """A file of a commit; None where it has none."""
    return _git("show", f"{rev}:./{path}") if _git("ls-tree", "--name-only", rev, f"./{path}") else None


def _names(*arguments: str) -> set[str]:
    return {name for name in _git(*arguments, "-z", "--", *KEPT).decode().split("\0") if name}


def locked_commit(rev: str) -> tuple[str, bytes]:
    """The short hash of a revision and its dvc.lock; InputError for one that is none, or without results."""
    _git("rev-parse", "--git-dir")
    try:
        commit = _git("rev-parse", "--short", "--verify", f"{rev}^{{commit}}").decode().strip()
    except InputError:
        raise InputError("no commit yet" if rev == "HEAD" else f"{rev}: no such commit, branch or tag") from None
    lock = _show(commit, LOCK)
    if lock is None:
        raise InputError(f"{rev}: has no {LOCK}")
    return commit, lock


def verdict(rev: str) -> str:
    """The whole text; InputError for a revision that is none or without results, or without results here."""
    commit, lock = locked_commit(rev)
    if not Path(LOCK).is_file():
        raise InputError(f"{LOCK}: not there; run `dvc repro` first")
    ran, there = stages_of(Path(LOCK).read_bytes(), LOCK), stages_of(lock, f"{rev}:{LOCK}")
    declared = declared_stages()
    here = {name: stage for name, stage in ran.items() if name in declared}
    changed = _names("diff", "--relative", "--name-only", commit) | _names("ls-files", "--others", "--exclude-standard")
    found = difference(here, there, changed, _names("ls-tree", "-r", "--name-only", commit))
    old = [f"{stage} is new" for stage in declared if stage not in ran] + outdated(here)
    lines = [f"changed since the last run: {_listed(old)}; run `dvc repro` first"] if old else []
    name = rev if commit.startswith(rev) or rev.startswith(commit) else f"{rev} {commit}"
    if not found.paths:
        return "\n".join([*lines, f"all {found.outputs} outputs are as committed ({name}), byte for byte"])
    equal = found.outputs - len(found.paths)
    lines += [
        f"{equal} of {found.outputs} outputs are as committed ({name}), byte for byte; these are not:",
        str(found),
    ]
    lines += ["why that may be:", *(f"  {line}" for line in causes(here, there, found))]
    metrics = {problem: json.loads(_show(commit, f"metrics/{problem}.json") or "{}") for problem in MEASURE}
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
    if args.rev is None:
        try:
            locked_commit("HEAD")
        except InputError as error:
            print(f"no committed results to compare with: {error}")
            return
    print(verdict(args.rev or "HEAD"))


if __name__ == "__main__":
    run_stage(main)
