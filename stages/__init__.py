"""The stages of dvc.yaml, one script each. Run with ``-m``, a stage answers signals before its imports begin."""

import sys

from hw1.run.supervision import watch

if sys.argv[0] == "-m":  # so Python calls it until it has found the stage
    watch()
