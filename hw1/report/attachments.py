"""Which pictures belong to which training."""

from pathlib import Path

from hw1.report.settings import pretrained
from hw1.run.parameters.params import Params

# Which pictures belong to which training, by the history file that names it; {} is the model in lower case.
PICTURES = {
    "start": ("start_curves",),
    "pretrain": ("p2_networks", "p2_pretraining"),
    "classify": ("p1_network_{}", "p1_curves", "p1_confusion"),
    "classify/A": ("p1_pca", "p1_tsne"),
    "finetune": ("p2_curves", "p2_bars", "p2_ranking", "p2_confusion"),
    "segment": ("p3_network_{}", "p3_curves", "p3_masks_{}", "p3_iou_bars", "p3_confusion"),
}


def pictures_by_history(params: Params, histories: Path, figures: Path) -> dict[Path, list[Path]]:
    """The pictures of each training, under the history file that names it."""
    trainings = {
        "start": pretrained(params),
        "pretrain": ("supervised", "byol"),
        "classify": "AB",
        "finetune": params.settings,
        "segment": "AB",
    }
    return {
        histories / stage / f"{model}.csv": [
            figures / f"{name.format(model.lower())}.png"
            for name in (*PICTURES[stage], *PICTURES.get(f"{stage}/{model}", ()))
        ]
        for stage, models in trainings.items()
        for model in models
    }
