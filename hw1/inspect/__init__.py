"""What the pipeline would take from what people bring: ``python -m hw1.inspect PATH``, in seconds, without a run.

- :mod:`hw1.inspect.layout`: an archive, or a folder in the course's layout
- :mod:`hw1.inspect.single`: a csv, a folder of pictures, or a file of weights
"""
