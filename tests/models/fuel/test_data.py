"""What must hold of the clone's own data, whatever cars it has."""

from roadworthy.models import fuel
from roadworthy.models.contract import FEWEST_ROWS


def test_the_data_of_the_clone_can_be_learnt_from(root):
    frame, _ = fuel.prepare(fuel.schema.validate(fuel.read(root / "data.csv")))

    assert min(map(len, fuel.split(frame))) >= FEWEST_ROWS
