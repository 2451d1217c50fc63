"""``python -m roadworthy`` is the ``roadworthy`` command."""

from roadworthy.cli.main import main

main()
