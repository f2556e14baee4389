"""Where the report contradicts itself or is silent, and what is taken: the one place that says it, shown on the page.

The comment beside a value in ``presets/`` only says whose value it is.
"""

from dataclasses import dataclass

from hw1.report.names import KEPT, LOSSES
from hw1.report.settings import FROM, TRAINED_PART, stored
from hw1.run.parameters.params import Params, Segmenter
from hw1.statistics.published import BYOL_TABLES, ByolTable

_PRECISION = {
    "auto": "bf16 where the hardware has it, else float32",
    "bf16": "bf16",
    "fp32": "float32",
}
_LEVELS = {True: "normalised by ImageNet's mean and deviation", False: "levels of 0 to 255"}


@dataclass(frozen=True)
class Choice:
    """A row of the page's table: what it is about, what the report says, what the parameters in use and the paper
    preset take, and why. Where no parameter decides, ``paper`` is "": every preset takes what is taken ``here``."""

    about: str
    report: str
    here: str
    paper: str = ""
    why: str = ""


def choices(params: Params, fc1: int, classes: int, given_backbone: bool) -> list[Choice]:
    """All of them, in the order of the report's problems.

    ``fc1`` is the number of inputs of model A's first fully connected layer, ``classes`` are problem 1's, and
    ``given_backbone`` says whether the supervised backbone came with the data.
    """
    return [
        *_classification(params, fc1, classes),
        *_byol(params),
        *_fine_tuning(params, given_backbone),
        *_segmentation(params),
        Choice(
            "Which epoch counts",
            "not said",
            KEPT[params.evaluate.keep],
            KEPT["last"],
            "the author's public code and most of the other reports keep the best by validation; the tables here show "
            "it beside the last",
        ),
        Choice(
            "Precision",
            "not said",
            _PRECISION[params.runtime.precision],
            _PRECISION["auto"],
            "bf16 rounds to three digits; the author's public code has no mixed precision, so computes in float32",
        ),
        Choice(
            "Pictures at three epochs",
            "first, middle, last",
            "after the first, the middle and the last epoch of training; the middle one of n is n/2, rounded down",
        ),
    ]


def _classification(params: Params, fc1: int, classes: int) -> list[Choice]:
    small, convnext = params.classify.A, params.classify.B
    fed = "images stretched (nearest neighbour) to {} × {}: fc1 has {:,} inputs".format
    return [
        Choice(
            "P1 A, network input",
            "images of 32 × 32, but fc1 has 29,696 inputs",
            fed(small.height, small.width, fc1),
            fed(32, 232, 29_696),
            "29,696 = 64 × 8 × 58 is what images of 32 × 232 leave after two poolings",
        ),
        Choice(
            "P1 A, head",
            "declares fc1, fc2 and a dropout layer; the printed forward returns fc1's output",
            _head(small.head, max(small.hidden, classes), classes, small.dropout),
            _head("printed", 128, 50, 0.25),
            "outputs past the number of classes are never a label; the second-last layer, of PCA and t-SNE, is what "
            "enters the last linear one",
        ),
        Choice(
            "P1 B, trained part",
            'parameters whose name holds "classifier" or "7": in ConvNeXt-Base that is features.7, '
            "but also blocks 7 and 17 of features.5",
            TRAINED_PART[convnext.trainable],
            TRAINED_PART["printed"],
            "stage7 takes what the rule seems to mean; all is for a network without pre-trained weights to keep",
        ),
        Choice(
            "P1 A, levels",
            "no transform",
            _LEVELS[small.normalise],
            _LEVELS[True],
            "the author's public code feeds levels of 0 to 255. dvc exp run -S classify.A.normalise=false does",
        ),
        Choice(
            "P1 B, stochastic depth in the frozen blocks",
            "not said",
            "none: a block without trained parameters computes as in validation",
            why="the author's public code lets torchvision drop whole blocks at random, frozen ones too, and in "
            "validation",
        ),
    ]


def _head(head: str, outputs: int, classes: int, dropout: float) -> str:
    if head == "declared":
        return f"as declared: fc1, ReLU, dropout {dropout:g}, fc2; the second-last layer is fc1's"
    return (
        f"as the printed forward: fc1's {outputs} outputs are the scores, the first {classes} stand for the classes; "
        "the second-last layer is the flattened output of the convolutions"
    )


def _byol(params: Params) -> list[Choice]:
    byol = params.pretrain.byol
    heads = "decay from {:g} up to 1 along a cosine; {} wide, {} outputs".format
    tables = [f'"{name}" has {_values(table)}' for name, table in BYOL_TABLES.items()]
    first, second = BYOL_TABLES
    changed = {f"pretrain.byol.{key}": value for key, value in BYOL_TABLES[first]._asdict().items()}
    changed |= {"prepare.mini.resize": 232, "prepare.mini.crop": 224, "prepare.mini.filter": "bicubic"}
    other = " ".join(f"-S {key}={value}" for key, value in changed.items())
    return [
        Choice(
            "P2, BYOL's recipe",
            f"two tables that exclude each other: {'; '.join(tables)}",
            _taken(ByolTable(byol.lr, byol.batch_size, byol.augmentation)),
            _taken(BYOL_TABLES[second]),
            "the second table stands beside the results of A to E and has the course's image size. With 0.01 the "
            "projections collapsed on real photographs (ResNet18, 32 px, batch 256, trivial128) and setting E came out "
            f"at chance; with 0.0005 they learned. dvc exp run {other} takes the first table",
        ),
        Choice(
            "P2, images of the pre-training",
            "the second table's trivial128 resizes to 128 × 128, without a crop; the first's choice224 to 232 × 232, "
            "of which it cuts 224 × 224",
            stored(params.prepare.mini),
            "128 × 128, bilinear",
            "stored once, so the augmentation's first steps are prepare.mini's; bilinear is torchvision's default, as "
            "trivial128 has it, bicubic what choice224 names",
        ),
        Choice(
            "P2, BYOL's loss",
            'the first table says "Focal Loss", the text gives BYOL\'s formula 2 − 2 cos, in both directions',
            "the formula",
            why="a focal loss is one of classes, and BYOL is told none",
        ),
        Choice(
            "P2, BYOL's moving average, projector and predictor",
            "not printed",
            heads(byol.ema, byol.hidden, byol.projection),
            heads(0.996, 4096, 256),
            "the paper preset takes the BYOL paper's",
        ),
        Choice(
            "P2, BatchNorm of BYOL's target",
            "not said",
            "it normalises each view by its own batch; its running statistics follow its own activations",
            why="averaging the online network's statistics into them would mix two networks",
        ),
    ]


def _values(table: ByolTable) -> str:
    return f"learning rate {table.lr:g}, batch {table.batch_size}, {table.augmentation}"


def _taken(used: ByolTable) -> str:
    """The recipe in use, and which of the report's tables that is."""
    names = [f'the table "{name}" whole' for name, table in BYOL_TABLES.items() if table == used]
    return f"{_values(used)}: {names[0] if names else 'neither table whole'}"


def _fine_tuning(params: Params, given_backbone: bool) -> list[Choice]:
    own = [f"{key} {', '.join(map(str, rest))}" for key, s in params.settings.items() if (rest := s.meaning[2:])]
    return [
        Choice(
            "P2, recipe of the five settings",
            "one for all",
            f"of their own: {'; '.join(own)}" if own else "one for all",
            "one for all",
            "the author's public code gives A another one than B to E, and D and E fewer epochs than B and C",
        ),
        Choice(
            "P2, BatchNorm of the frozen backbones",
            "not said",
            "in eval mode: the pre-training's statistics, not the batch's",
            why="else a frozen backbone would still change with the images it sees",
        ),
        Choice(
            "P2, supervised backbone",
            "given by the course as a file (pretrain_model_SL.pt)",
            "the given file" if given_backbone else "trained by the pipeline on the labels of mini/train.csv",
            why="whether the data hold the file decides, in every preset",
        ),
        Choice(
            "P2, where the settings start",
            "not said",
            "one draw of weights is the start of setting A, of BYOL and of a supervised backbone trained here",
            why="the settings then differ only in what their names say",
        ),
        Choice(
            "P2, what D and E train",
            "the classifier alone",
            "the classifier alone",
            why="the author's public code freezes nothing: its D and E are B and C with fewer epochs",
        ),
        Choice("P2, classifier of A to E", "one architecture for all, not printed", "one linear layer"),
    ]


def _segmentation(params: Params) -> list[Choice]:
    return [
        Choice(
            "P3, optimiser, batch and loss",
            "not printed",
            "; ".join(f"{key}: {_optimiser_words(getattr(params.segment, key))}" for key in "AB"),
            "A: Adam, learning rate 0.0005, batch 16, cross entropy; B: SGD, learning rate 0.001, batch 8, focal loss",
            "the author's public code has these, but for the focal factor, which there acts on the batch's mean",
        ),
        Choice(
            "P3, initial weights",
            "not printed",
            "; ".join(f"{key}: {FROM[getattr(params.segment, key).weights]}" for key in "AB"),
            "A: ImageNet; B: ImageNet",
            "of B's backbone torchvision's second version (IMAGENET1K_V2). The author's public code starts B from "
            "COCO's, its ASPP included, as weights: coco does",
        ),
        Choice(
            "P3 A, sizes that are no multiple of 32",
            "not said; the FCN paper pads the first layer by 100 pixels",
            "fc6 is padded to keep its input's size, the image to a multiple of 32",
        ),
        Choice(
            "P3, size of the scores",
            "not said",
            f"tiles are predicted at {params.prepare.p3.size} pixels; scores are resized to the mask's own size before "
            "the largest is taken",
            "tiles are predicted at 512 pixels; scores are resized to the mask's own size before the largest is taken",
        ),
        Choice(
            "P3, pixels of class Unknown",
            "not said; the course's scorer keeps them: a class predicted there is a false positive",
            "scored as the course does; the training losses leave Unknown out",
        ),
        Choice(
            "P3, mean IoU",
            "not said",
            "pixels are added up over the validation set, then divided, then six classes averaged; a class absent from "
            "truth and prediction has no IoU and is left out of the mean",
            why="the course's scorer adds up over the set as well",
        ),
    ]


def _optimiser_words(model: Segmenter) -> str:
    name = {"adam": "Adam", "sgd": "SGD"}[model.optimiser]
    return f"{name}, learning rate {model.lr:g}, batch {model.batch_size}, {LOSSES[model.loss]}"
