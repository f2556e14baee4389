"""The pipeline's stages side by side, over DVC's own graph, locks and caches: ``python -m hw1.repro``."""
