"""Write the held-out part of the device's series as evenly spaced values.

``python deploy/outliers/series.py FILE``, in the root of the repository. The file has the columns
``time_s`` and ``value``, and begins with the context of the first day.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from roadworthy.models import outliers
from roadworthy.models.outliers.table import CONTEXT, STEP_S, joined

data = Path(outliers.data.removesuffix(".dvc"))
if not data.exists():
    sys.exit(f"Error: {data} is missing: run `dvc pull {outliers.data}`.")
days = outliers.split(outliers.prepare(outliers.schema.validate(outliers.dataset.read(data))).frame)
values, _ = joined(days.test)[0]
start = days.test["time_s"].iloc[0] - CONTEXT * STEP_S
times = start + STEP_S * np.arange(len(values))
pd.DataFrame({"time_s": times, "value": values}).to_csv(sys.argv[1], index=False)
