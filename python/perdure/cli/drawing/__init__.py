"""How an execution is drawn: as a tree, a chart of time, a picture, a list and a log."""
