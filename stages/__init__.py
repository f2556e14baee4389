"""The stages of dvc.yaml, one script each.

Run with ``-m``, a stage answers signals before its imports begin, and says if it runs on other versions than recorded.
"""

import sys

from hw1.run.supervision import run_stage, watch

if sys.argv[0] == "-m":  # so Python calls it until it has found the stage
    watch()
    from hw1.run.environment import tell_others

    run_stage(tell_others)
