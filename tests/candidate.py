"""A candidate as training may hand it to the registry."""

CANDIDATE = {
    "name": "polynomial",
    "made_of": "r1",
    "parameters": {"degree": 2, "kernel": "rbf"},
    "metrics": {"cv_r2": 0.85, "broken": float("nan")},
    "tags": {"commit": "c1", "data_hash": "d1"},
    "figures": {"residuals": b"\x89PNG"},
}
