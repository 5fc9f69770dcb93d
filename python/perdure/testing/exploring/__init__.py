"""The inside of `perdure.testing.explorer`: what is run and how, what is seen of it, and what that is compared with."""
