# lazy_loader takes only relative imports of names.
import collections.abc

import roadworthy.models.contract
import roadworthy.models.routes

from .detectors import candidates as candidates
from .detectors import train as train
from .evaluation import behaviour as behaviour
from .evaluation import criteria as criteria
from .evaluation import cross_validate as cross_validate
from .evaluation import disagreements as disagreements
from .evaluation import evaluate as evaluate
from .evaluation import page as page
from .evaluation import score as score
from .evaluation import tolerance as tolerance
from .graph import export as export
from .request import Answer as Answer
from .request import Request as Request
from .table import dataset as dataset
from .table import prepare as prepare
from .table import schema as schema
from .table import split as split

name: str
title: str
task: roadworthy.models.contract.Task
data: str
key: collections.abc.Sequence[str]
extra: str
resources: collections.abc.Mapping[str, roadworthy.models.contract.Resources]
routes: collections.abc.Sequence[roadworthy.models.routes.Route]
