"""The bench of what a user's function pays on Lambda: processes, clients, calls over loopback.

Each contender runs in processes of its own, with Lambda's environment variables and no other, and with the client that
it takes by default. One server in another process answers all of them, over HTTP and over TLS.
"""
