"""Where a runner keeps executions, under the official names."""
