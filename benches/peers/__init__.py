"""What the benches are made of: the contenders, the service they talk to, the works, the clock and the report.

Every contender does the same work: it gets the same event, talks to the same kind of client, and must return the same
values. Contenders take turns within one run, so that a busy machine slows all of them.
"""
