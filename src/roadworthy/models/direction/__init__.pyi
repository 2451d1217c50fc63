# lazy_loader takes only relative imports of names.
import collections.abc

import roadworthy.models.contract
import roadworthy.models.routes

from .estimator import candidates as candidates
from .estimator import train as train
from .evaluation import behaviour as behaviour
from .evaluation import criteria as criteria
from .evaluation import cross_validate as cross_validate
from .evaluation import evaluate as evaluate
from .evaluation import losses as losses
from .evaluation import page as page
from .evaluation import score as score
from .evaluation import tolerance as tolerance
from .graph import export as export
from .market import ingest as ingest
from .market import latest as latest
from .request import Answer as Answer
from .request import Request as Request
from .schema import schema as schema
from .table import dataset as dataset
from .table import prepare as prepare
from .table import read as read
from .table import split as split

name: str
title: str
task: roadworthy.models.contract.Task
data: str
key: collections.abc.Sequence[str]
extra: str
time: str
windows: roadworthy.models.contract.Windows
resources: collections.abc.Mapping[str, roadworthy.models.contract.Resources]
routes: collections.abc.Sequence[roadworthy.models.routes.Route]
