"""The run as a Kedro project: ``kedro run``."""
