"""Stand in for the package hw1 where a script of this folder was started by its path: say how to start it.

Python then searches this folder, and not the project's root, for what the script imports.
"""

import sys
from pathlib import Path

script = Path(sys.argv[0]).stem
sys.exit(f"error: stages/{script}.py runs from the project's root, as `python -m stages.{script}`")
