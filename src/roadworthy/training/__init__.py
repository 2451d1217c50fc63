"""From rows to a fitted estimator and the verdict of the gate."""
