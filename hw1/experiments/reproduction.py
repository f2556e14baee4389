"""Tell whether the results here are a commit's, to the byte: ``python -m hw1.experiments.reproduction [REV]``.

REV is a commit, branch or tag, by default HEAD. Outputs that git keeps are compared by their bytes, all others by the
hashes in dvc.lock, where they are at hand. Where some differ, the causes are named that the two dvc.lock tell, and each
headline number stands beside the committed one, with the paired test on the same validation images and the deviation
over the kept seeds.
"""

import argparse
import io
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

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
from hw1.run.processes.supervision import answer_signals, run_stage
from hw1.run.tracking.whereabouts import record_of
from hw1.statistics.published import MEASURE

LOCK = "dvc.lock"
SEEDS = "plots/statistics/seeds.csv"
SHOWN = 10  # names in a list, before it counts
DATA = ("data", "prepare", "synthetic")  # sections of the parameters
TESTS = "the committed predictions against those here, on the same images (McNemar; mIoU: swapped tile by tile)"
Differences = dict[str, dict[str, str]]  # by stage and path, the files that differ or the side that has the output


# -- what differs


def differences(ours: Stages, theirs: Stages, changed: set[str], kept: set[str]) -> Differences:
    """Compare outputs: those among the files ``kept`` by git differ where ``changed`` names a file of theirs."""
    hashes, committed = (
        {path: (name, md5) for name, stage in side.items() for path, md5 in stage.writes.items()}
        for side in (ours, theirs)
    )
    by_stage: Differences = {}
    for path in committed | hashes:
        files = sorted(file for file in changed if within(file, path))
        if path not in hashes or path not in committed:
            remark = " (only here)" if path in hashes else " (only in the commit)"
        elif not Path(path).exists():
            remark = " (not here)"
        elif any(within(file, path) for file in kept):
            remark = None if not files else "" if files == [path] else f" ({_listed(files)})"
        else:
            remark = "" if hashes[path][1] != committed[path][1] else None
        if remark is not None:
            stage, _ = hashes.get(path) or committed[path]
            by_stage.setdefault(stage, {})[path] = remark
    return by_stage


def listing(by_stage: Differences) -> list[str]:
    """A line per stage, SHOWN outputs in all."""
    lines, room = [], SHOWN
    for stage, paths in by_stage.items():
        named = [f"{path}{remark}" for path, remark in list(paths.items())[:room]]
        lines += [f"  {stage}: {', '.join(named)}"] if named else []
        room -= len(named)
    more = sum(map(len, by_stage.values())) - SHOWN
    return [*lines, f"  and {more} more"] if more > 0 else lines


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


# -- why


def causes(ours: Stages, theirs: Stages, by_stage: Differences) -> list[str]:
    """A line for each kind of input that differs, without what other stages made; and what happened to a stage's
    outputs where its inputs are equal.
    """
    made = {path for side in (ours, theirs) for stage in side.values() for path in stage.writes}
    by_hand = edited(ours) & {path for paths in by_stage.values() for path in paths}
    kinds: dict[str, dict[str, None]] = {}  # texts by kind, in order, each once
    unexplained = []
    for name in theirs | ours:
        if name not in ours or name not in theirs:
            notes = [("stages", f"{name} only {'here' if name in ours else 'in the commit'}")]
        else:
            current, earlier = ours[name], theirs[name]
            notes = list(_inputs(current, earlier, made))
            others = any(earlier.writes.get(path) != md5 for path, md5 in current.writes.items())
            if not notes and others and current.reads == earlier.reads:
                if name == "download" and current.parameters.get(("params.yaml", "data.source")) != "synthetic":
                    notes = [("data", "the archive is another")]
                else:
                    unexplained.append(name)
            elif not others:
                paths = [path for path in by_stage.get(name, ()) if path not in by_hand and Path(path).exists()]
                notes += [("committed without the dvc.lock of its run", path) for path in paths]
        for kind, text in notes:
            kinds.setdefault(kind, {})[text] = None
    absent = [path for stage in ours.values() for path in stage.writes if not Path(path).exists()]
    lines = [f"{len(absent)} are not here: `dvc repro` makes them"] if absent else []
    lines += [f"edited since their stage wrote them: {_listed(sorted(by_hand))}"] if by_hand else []
    lines += [f"{kind}: {_listed(list(texts))}" for kind, texts in kinds.items()]
    if unexplained:
        reasons = "; ".join(_machine([ours[name] for name in unexplained]))
        lines.append(f"equal inputs gave other outputs in {_listed(unexplained)}: {reasons}")
    return lines


def _inputs(current: LockedStage, earlier: LockedStage, made: set[str]) -> Iterator[tuple[str, str]]:
    """Kind and name of each input that differs and that no stage makes."""
    if current.command != earlier.command:
        yield "code", "commands of dvc.yaml"
    for file, key, text in changes(earlier.parameters, current.parameters):
        kind = "data" if key.partition(".")[0] in DATA else "parameters"
        yield "versions" if file == "environment.json" else kind, text
    for path in sorted({*current.reads, *earlier.reads}):
        if current.reads.get(path) != earlier.reads.get(path) and is_source(path, made):
            yield "code" if path.startswith(("hw1/", "stages/")) else "files", path


def _machine(stages: list[LockedStage]) -> list[str]:
    """Reasons why equal inputs give other bytes in these stages."""
    reasons = obstacles()
    for stage in stages:
        if stage.parameters.get(("params.yaml", "runtime.numerics")) == "native":
            reasons.append("runtime.numerics is native, so other CPUs round otherwise")
        for path in stage.writes:
            record = record_of(Path(path)) if path.endswith(".csv") and Path(path).is_file() else None
            if record and "threads" not in record.get("device", "threads"):  # the CPU's name has its threads
                reasons.append(f"trained on {record['device']}")
            if record and int(record.get("ranks", 1)) > 1:
                reasons.append(f"trained by {record['ranks']} ranks")
    return list(dict.fromkeys(reasons)) or ["the machine, or its C library"]


# -- the numbers


def numbers(commit: str, ours: list[Headline], theirs: list[Headline]) -> str:
    """The table of headline numbers that both sides have; "" if all are equal."""
    committed = {row.name: row for row in theirs}
    pairs = [(row, committed[row.name]) for row in ours if row.name in committed]
    if all(row.final == before.final for row, before in pairs):
        return ""
    import pandas as pd

    table = _show(commit, SEEDS) or (Path(SEEDS).read_bytes() if Path(SEEDS).is_file() else b"problem,model,std\n")
    deviations = pd.read_csv(io.BytesIO(table)).set_index(["problem", "model"])["std"]
    cells = {}
    for row, before in pairs:
        deviation = deviations.get((row.problem, row.key))
        cells[f"{row.name} {row.measure}"] = {
            "committed": f"{100 * before.final:.1f} %",
            "here": f"{100 * row.final:.1f} %",
            "difference": f"{100 * (row.final - before.final):+.1f}",
            "p": p_value(commit, row),
            "deviation over seeds": "-" if deviation is None else f"{100 * deviation:.1f}",
        }
    frame = pd.DataFrame.from_dict(cells, orient="index")
    return f"\n{frame.to_string()}\ndifference, deviation: in points; p: {TESTS}"


def p_value(commit: str, row: Headline) -> str:
    """The paired test of one model's committed predictions against those here, as text."""
    import pandas as pd

    from hw1.statistics.comparison import accuracy_pairs, iou_pairs, ious_of

    path = f"plots/predictions/{row.problem}.csv"
    committed = _show(commit, path)
    if committed is None or not Path(path).is_file():
        return "no predictions"
    current, earlier = (pd.read_csv(file, dtype={"image": str}) for file in (path, io.BytesIO(committed)))
    same = ["image", "label"]
    if row.problem == "p3":
        same = ["image", "class", "truth", "pixels"]
        current, earlier = (side[side["model"] == row.key].reset_index(drop=True) for side in (current, earlier))
    if not current[same].equals(earlier[same]):
        return "other images"
    if row.problem == "p3":
        tiles = pd.concat([current.assign(model="here"), earlier.assign(model="committed")])
        pairs = [pair for pair in iou_pairs(ious_of(tiles)) if pair["measure"] == "miou"]
    else:
        pairs = accuracy_pairs("", current[same].assign(here=current[row.key], committed=earlier[row.key]))
    return f"{pairs[0]['p']:.2g}"


# -- git


def _git(*arguments: str) -> bytes:
    """Output of a git command; InputError with its own words if it fails, or there is no git."""
    try:
        return subprocess.run(["git", *arguments], capture_output=True, check=True).stdout
    except OSError:
        raise InputError("git is not installed") from None
    except subprocess.CalledProcessError as error:
        lines = error.stderr.decode(errors="replace").strip().splitlines() or [f"git {arguments[0]} failed"]
        trust = next((line.strip() for line in lines if "safe.directory" in line), "")  # a folder of another user
        raise InputError(lines[0].removeprefix("fatal: ") + (f"; run `{trust}`" if trust else "")) from None


def _show(commit: str, path: str) -> bytes | None:
    """A file of a commit; None where it has none."""
    return _git("show", f"{commit}:./{path}") if _git("ls-tree", "--name-only", commit, f"./{path}") else None


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
    ran, theirs = stages_of(Path(LOCK).read_bytes(), LOCK), stages_of(lock, f"{rev}:{LOCK}")
    declared = declared_stages()
    ours = {name: stage for name, stage in ran.items() if name in declared}
    old = [f"{stage} is new" for stage in declared if stage not in ran] + outdated(ours)
    lines = [f"changed since the last run: {_listed(old)}; run `dvc repro` first"] if old else []
    changed = _names("diff", "--relative", "--name-only", commit) | _names("ls-files", "--others", "--exclude-standard")
    by_stage = differences(ours, theirs, changed, _names("ls-tree", "-r", "--name-only", commit))
    outputs = len({path for side in (ours, theirs) for stage in side.values() for path in stage.writes})
    equal = outputs - sum(map(len, by_stage.values()))
    named = f"are as committed ({rev if commit.startswith(rev) or rev.startswith(commit) else f'{rev} {commit}'})"
    if not by_stage:
        return "\n".join([*lines, f"all {outputs} outputs {named}, byte for byte"])
    lines += [f"{equal} of {outputs} outputs {named}, byte for byte; these are not:", *listing(by_stage)]
    lines += ["why that may be:", *(f"  {line}" for line in causes(ours, theirs, by_stage))]
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
    answer_signals("the same command begins anew")
    if args.rev is None:
        try:
            locked_commit("HEAD")
        except InputError as error:
            print(f"no committed results to compare with: {error}")
            return
    print(verdict(args.rev or "HEAD"))


if __name__ == "__main__":
    run_stage(main)
