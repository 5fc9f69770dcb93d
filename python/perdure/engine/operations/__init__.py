"""One file an operation: what happens when it is *not* simply replayed."""
