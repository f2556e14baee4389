"""What a training step of the paper preset asks of a GPU, at its own batch and image size: ceilings, counted."""

import json

import pytest
import torch
from gpu_tables import DOCUMENT, run_steps, smallest_card, with_tables

# The most that a step may launch, copy on the device (GB) and hold (GiB in bf16 and fp32; without cuDNN's workspace).
CEILINGS = {
    "byol": (1600, 0.01, (4.2, 7.5)),
    "finetune full": (794, 0.01, (3.1, 5.6)),
    "finetune frozen": (462, 0.01, (0.52, 0.82)),
    "classify A": (52, 0.01, (0.15, 0.18)),
    "classify B": (1002, 0.01, (5.1, 8.1)),
    "segment A": (322, 0.06, (5.9, 8.1)),
    "segment B": (710, 0.01, (4.7, 8.8)),
}


@pytest.fixture(scope="module")
def steps(gpu):
    """What steps.py says: {step: {precision: counts}}"""
    return json.loads(run_steps(gpu))


@pytest.mark.parametrize("name", CEILINGS)
def test_step_never_waits_for_the_gpu_and_is_sent_what_it_needs_in_few_copies(steps, name):
    for counts in steps[name].values():
        assert counts["waits"] == counts["pageable"] == 0, counts["waiting"]
        assert counts["allocations"] == 0
        assert counts["copies"].get("to, pinned", 0) <= 4
        assert not any(kind.startswith("from") for kind in counts["copies"])


@pytest.mark.parametrize("name", CEILINGS)
def test_kernels_copies_and_memory_of_a_step_stay_below_their_ceilings(steps, name):
    """Of fp32 as well, which needs no casts; and they are counted at all."""
    kernels, copied, peaks = CEILINGS[name]
    for counts, peak in zip(steps[name].values(), peaks, strict=True):
        assert kernels / 3 < counts["kernels"] <= kernels
        assert counts["device_copies_gb"] <= copied
        assert peak / 2 < counts["peak_gib"] <= peak


def test_deterministic_algorithms_do_not_fill_every_new_tensor(steps):
    """They do by torch's default, which makes it 4,544 kernels."""
    plain, deterministic = steps["byol"]["bf16"], steps["byol, deterministic"]["bf16"]
    assert deterministic["kernels"] <= 1.1 * plain["kernels"]


@pytest.mark.parametrize("name, batches", [("finetune full", 3), ("segment A", 2)])
def test_validation_waits_once_an_epoch_and_copies_once_a_batch(steps, name, batches):
    counts = steps[name]["bf16"]["validation"]
    assert counts["waits"] <= 4
    assert counts["copies"].get("to, pageable", 0) == 0
    assert counts["copies"].get("to, pinned", 0) <= batches + 1


def test_layers_that_ranks_share_a_batch_in_wait_for_nothing_of_their_own(steps):
    counts = steps["synchronised"]
    assert (counts["waits"], counts["pageable"]) == (0, 0)
    assert counts["kernels"] > 500 and counts["gradients"]


def test_state_is_copied_to_pinned_memory_and_nobody_waits(steps):
    counts = steps["state"]
    assert counts["waits"] == 0 and counts["pinned"]
    assert counts["copies"]["from, pinned"] > 100
    assert set(counts["copies"]) == {"from, pinned"}


# -- docs/gpu.md


def test_tables_of_the_document_say_what_the_steps_ask_for(steps):
    document = DOCUMENT.read_text()
    assert with_tables(document, steps) == document, "run `make cards`"


def test_document_names_the_torch_that_is_installed():
    installed = f"torch {torch.__version__.partition('+')[0]} is built with CUDA {torch.version.cuda},"
    assert installed in DOCUMENT.read_text()


@pytest.mark.parametrize(
    "reserved, images, card",
    [(6.4, 0, "8 GB"), (6.5, 0, "12 GB"), (6.0, 2.0, "12 GB"), (6.0, 5.0, "8 GB"), (65, 0, "none of these")],
)
def test_smallest_card_leaves_a_fifth_and_counts_images_that_live_there(reserved, images, card):
    assert smallest_card(reserved, images) == card
