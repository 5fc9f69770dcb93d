"""What carries out a durable execution: an invocation, its checkpoints, its client, its operations. Private to perdure.

It stands on the vocabulary and knows no context: operations are handed one, and take it for what `contexts.py` says.
"""
