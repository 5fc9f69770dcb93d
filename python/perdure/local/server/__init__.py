"""The service on a port, and what it takes to run functions in other processes and from changing files."""
