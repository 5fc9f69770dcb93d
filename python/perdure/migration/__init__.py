"""Moving a program from the official SDK to perdure: what `perdure migrate` does, without its command line.

`sources.py` rewrites one Python source, `words.py` tells of names that stand in text, `project.py` finds the files.
"""
