"""The tables of docs/gpu.md: what a training step asks of a GPU, and which card carries it.

``make cards`` writes them anew; a test compares them with what the steps ask for today.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import gpu_build

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs/gpu.md"
CARDS = (8, 12, 16, 24, 40, 80)  # GB
USABLE = 0.8  # of a card: the driver's context and cuDNN's workspace are not counted
RESIDENT_SHARE = 0.5  # runtime.resident_share of the presets
STEPS = {  # step: what it is; images and bytes of each in the course's archive (masks too)
    "byol": ("`pretrain@byol`: ResNet50, 128 px, batch 128", 38_400, 128 * 128 * 3),
    "finetune full": ("`finetune@A` to `C`: ResNet50, 224 px, batch 64", 3_951, 224 * 224 * 3),
    "finetune frozen": ("`finetune@D`, `E`: the same, frozen", 3_951, 224 * 224 * 3),
    "classify A": ("`classify@A`: small CNN, 32 x 232 px, batch 32", 22_500, 32 * 32 * 3),
    "classify B": ("`classify@B`: ConvNeXt-Base, 224 px, batch 128", 22_500, 32 * 32 * 3),
    "segment A": ("`segment@A`: FCN32s, 512 px, batch 16", 2_000, 512 * 512 * 4),
    "segment B": ("`segment@B`: DeepLabv3, 512 px, batch 8", 2_000, 512 * 512 * 4),
}
GIB = 1 << 30


def measure() -> dict:
    """What steps.py says on a fake GPU made for it."""
    with tempfile.TemporaryDirectory() as folder:
        gpu_build.build(Path(folder))
        return json.loads(run_steps(Path(folder)))


def run_steps(gpu: Path) -> str:
    """The output of steps.py on the fake GPU that lies in ``gpu``."""
    command = [sys.executable, Path(__file__).with_name("steps.py")]
    environment = gpu_build.environment(gpu) | {"PATH": "/usr/bin:/bin", "HOME": str(gpu)}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-3000:])
    return done.stdout


def smallest_card(reserved: float, images: float) -> str:
    """The smallest card for a step that reserves so many GiB, and for images that live there if they may."""
    for card in CARDS:
        kept = images if images <= RESIDENT_SHARE * card else 0
        if reserved + kept <= USABLE * card:
            return f"{card} GB"
    return "none of these"


def card_table(steps: dict) -> str:
    lines = [
        "| | images, GiB | bf16: peak (reserved), GiB | card | fp32: peak (reserved), GiB | card |",
        "|---|---|---|---|---|---|",
    ]
    for name, (what, count, size) in STEPS.items():
        images = count * size / GIB
        cells = [what, f"{images:.2f}"]
        for precision in ("bf16", "fp32"):
            step = steps[name][precision]
            cells.append(f"{step['peak_gib']:.1f} ({step['reserved_gib']:.1f})")
            cells.append(smallest_card(step["reserved_gib"], images))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def count_table(steps: dict) -> str:
    lines = [
        "| | TFLOP | kernels | products, convolutions | copies to the GPU | copied on it, GB | waits |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, (what, *_) in STEPS.items():
        step = steps[name]["bf16"]
        sent = sum(count for kind, count in step["copies"].items() if kind.startswith("to"))
        calls = step["products"] + step["convolutions"]
        counted = f"{step['kernels']:,} | {calls} | {sent} | {step['device_copies_gb']:.2f} | {step['waits']}"
        lines.append(f"| {what} | {step['tflop']:.2g} | {counted} |")
    return "\n".join(lines)


TABLES = {"cards": card_table, "counts": count_table}


def with_tables(document: str, steps: dict) -> str:
    """The document with its tables, between comments that name them, made anew."""
    for name, table in TABLES.items():
        start, end = f"<!-- {name} -->\n", f"\n<!-- end of {name} -->"
        before, found, rest = document.partition(start)
        _, closed, after = rest.partition(end)
        assert found and closed, f"{DOCUMENT}: no place for the table {name}"
        document = before + start + table(steps) + end + after
    return document


if __name__ == "__main__":
    if reason := gpu_build.missing():
        sys.exit(f"error: {reason}")
    DOCUMENT.write_text(with_tables(DOCUMENT.read_text(), measure()))
