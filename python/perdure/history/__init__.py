"""What the history of an execution is: its events, the operations they tell of, the tree of these, and files of them.

It knows neither the service nor the command line, which both stand on it, as do the test runner and the bench.
"""
