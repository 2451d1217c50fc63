"""Checks of raw data that several schemas share."""

import pandera.pandas as pa

from roadworthy.models.fields import ISO_DATE

# A column of type int would be coerced, and 4.5 become 4 silently.
WHOLE = pa.Check(lambda column: column % 1 == 0, name="whole", error="whole_number")
"""Every number is a whole one, or missing."""

DATE = pa.Check.str_matches(ISO_DATE, error="date")
"""Every string is a date such as 2024-03-15."""
