"""Cards of small networks, as the stages of the quick preset write them."""

from closure import ROOT

from hw1.data.arrays import Manifest
from hw1.models.card import Card
from hw1.params import flat, load

QUICK = load(ROOT / "presets/quick.yaml")
STAGES = ["classify@A", "classify@B", "finetune@C", "finetune@D", "segment@A", "segment@B"]


def used(stage):
    task, _, model = stage.partition("@")
    if task == "finetune":
        return flat(QUICK, "seed", "lr", "runtime", "backbone", "finetune", f"settings.{model}")
    return flat(QUICK, "seed", "runtime", f"{task}.{model}")


def card_of(stage, classes=3, resize=36, crop=32):
    return Card.of(stage, 5, Manifest("synthetic", resize, crop, classes, [], []), used(stage))
