"""The raw auto-mpg data: columns, types, units and ranges."""

import pandera.pandas as pa

from roadworthy.models.rules import WHOLE

schema = pa.DataFrameSchema(
    {
        "mpg": pa.Column(
            float,
            pa.Check.in_range(5, 60),
            description="City-cycle fuel economy, miles per US gallon. What is predicted.",
        ),
        "cylinders": pa.Column(
            float,
            [pa.Check.in_range(3, 12), WHOLE],
            description="Number of cylinders of the engine.",
        ),
        "displacement_cu_in": pa.Column(
            float, pa.Check.in_range(50, 500), description="Engine displacement, cubic inches."
        ),
        "horsepower_hp": pa.Column(
            float,
            pa.Check.in_range(30, 300),
            nullable=True,
            description="Engine power, horsepower. Unknown (`?` in the file) for six cars.",
        ),
        "weight_lb": pa.Column(
            float, pa.Check.in_range(1500, 6000), description="Weight of the car, pounds."
        ),
        "acceleration_s": pa.Column(
            float,
            pa.Check.in_range(5, 30),
            description="Time from 0 to 60 miles per hour, seconds.",
        ),
        "model_year": pa.Column(
            float,
            [pa.Check.in_range(70, 82), WHOLE],
            description="Model year, years since 1900.",
        ),
        "origin": pa.Column(
            float, pa.Check.isin([1, 2, 3]), description="Origin: 1 USA, 2 Europe, 3 Japan."
        ),
        "car_name": pa.Column(
            str, pa.Check.str_length(min_value=1), description="Make and name of the car."
        ),
    },
    strict=True,
    coerce=True,
    description="auto-mpg: R. Quinlan (1993), from the StatLib library; UCI repository.",
)
