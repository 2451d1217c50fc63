"""Checks of raw data that several schemas share."""

import pandera.pandas as pa

# A column of type int would be coerced, and 4.5 become 4 silently.
WHOLE = pa.Check(lambda column: column % 1 == 0, name="whole", error="whole_number")
"""Every number is a whole one, or missing."""
