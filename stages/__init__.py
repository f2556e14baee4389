"""The stages of dvc.yaml, one script each.

Run with ``-m``, a stage answers signals before its imports begin, settles its numerics, leaves out what it would only
wait for, and says if it runs on other versions than recorded.
"""

import gc
import sys

from hw1.run.processes.supervision import run_stage, watch


def set_up() -> None:
    """Do what must come before torch is loaded."""
    from hw1.run.environment import tell_others
    from hw1.run.processes.numerics import leave_out, settle

    settle()
    leave_out()
    tell_others()


if sys.argv[0] == "-m":  # so Python calls it until it has found the stage
    watch()
    run_stage(set_up)
    gc.disable()  # imports leave no garbage, and looking for some takes an eighth of their time; run_stage enables it
