"""The commands of `perdure` that look at executions and act on them, at a local service or at AWS.

They speak to a boto3-shaped Lambda client and to nothing else, so that the same command works against AWS, against
`perdure serve`, and in a test against a `LocalClient`. Importing `viewing` and `acting` adds the commands to the app.
They need the `local` extra, for the command line and the drawing.
"""
