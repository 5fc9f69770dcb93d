"""The same function three times: under perdure, under the official SDK, and without either."""
