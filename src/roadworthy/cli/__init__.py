"""The ``roadworthy`` command, one module per group of commands."""
