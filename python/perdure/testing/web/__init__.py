"""The runner's web service."""
