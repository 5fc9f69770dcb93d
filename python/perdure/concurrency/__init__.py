"""map and parallel: what they return, and when they are done."""
