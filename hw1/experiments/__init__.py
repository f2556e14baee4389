"""Many trainings through DVC's queue, and what is collected from them."""
