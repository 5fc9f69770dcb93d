"""The rules of the service, without threads, files or network: executions, what is accepted, and what follows."""
