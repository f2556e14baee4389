"""Two things every test wants: no tracking of its stages, and torch on one thread.

On a busy machine threads that step together wait for the slower one at every operation of tiny tensors.
"""

import os

os.environ["HW1_TRACKING"] = "off"
os.environ["OMP_NUM_THREADS"] = "1"
