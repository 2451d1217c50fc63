"""An exported estimator answers as scikit-learn does, or is refused with the step and a remedy."""

import hashlib
import os
import subprocess
import sys
from functools import cache

import joblib
import lightgbm
import numpy as np
import pandas as pd
import pytest
import xgboost
from pydantic import create_model
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    AdaBoostRegressor,
    BaggingClassifier,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    ElasticNet,
    LinearRegression,
    LogisticRegression,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
)
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import (
    FunctionTransformer,
    OneHotEncoder,
    PolynomialFeatures,
    PowerTransformer,
    SplineTransformer,
    StandardScaler,
)
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from roadworthy.bundles.scoring import Scorer
from roadworthy.models import onnx_converters
from roadworthy.models.agreement import Tolerance, agree
from roadworthy.models.contract import ExportError
from roadworthy.models.onnx_export import convert

ROWS = 300  # more than HistGradientBoosting has bins, so that some thresholds are values of rows
CLASSES = ("high", "low", "mid")
FIELDS = {"mass": (float, ...), "part": (float, np.nan), "sail": (bool, ...), "hull": (str, "")}
Request = create_model("Request", **FIELDS)
Number = create_model("Answer", y=(float, ...))
Label = create_model("Answer", y=(str, ...))
Probabilities = create_model("Answer", y=(str, ...), **{f"p_{c}": (float, ...) for c in CLASSES})

REGRESSORS = {
    "mean": DummyRegressor(),
    "ridge on powers": make_pipeline(PolynomialFeatures(2), Ridge()),
    "elastic net": ElasticNet(alpha=0.01),
    "poisson": PoissonRegressor(),
    "support vectors": SVR(),
    "neighbours": KNeighborsRegressor(),
    "network": MLPRegressor(hidden_layer_sizes=(9,), max_iter=50, random_state=0),
    "gaussian process": GaussianProcessRegressor(RBF() + WhiteKernel(), optimizer=None),
    "forest": RandomForestRegressor(5, random_state=0),
    "extra trees": ExtraTreesRegressor(5, random_state=0),
    "gradient boosting": GradientBoostingRegressor(n_estimators=20, random_state=0),
    "adaboost": AdaBoostRegressor(n_estimators=5, random_state=0),
    "histograms": HistGradientBoostingRegressor(max_iter=20),
    "histograms of counts": HistGradientBoostingRegressor(loss="poisson", max_iter=9),
    "xgboost": xgboost.XGBRegressor(n_estimators=5, n_jobs=1),
    "lightgbm": lightgbm.LGBMRegressor(n_estimators=5, n_jobs=1, verbose=-1),
    "vote": VotingRegressor([("one", Ridge()), ("two", RandomForestRegressor(5, random_state=0))]),
    "stack": StackingRegressor(
        [("one", SVR()), ("two", xgboost.XGBRegressor(n_estimators=5, n_jobs=1))], cv=2
    ),
    "stack of histograms": StackingRegressor(
        [
            ("one", Ridge()),
            ("two", HistGradientBoostingRegressor(max_iter=20)),
            ("three", RandomForestRegressor(5, random_state=0)),
        ],
        cv=2,
    ),
    "search": GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=2),
    "logarithm of the target": TransformedTargetRegressor(
        RandomForestRegressor(5, random_state=0), func=np.log1p, inverse_func=np.expm1
    ),
    "power transform": make_pipeline(PowerTransformer(), Ridge()),
}
CLASSIFIERS = {
    "prior": DummyClassifier(strategy="prior"),
    "logistic": LogisticRegression(max_iter=1000),
    "tree": DecisionTreeClassifier(max_depth=4, random_state=0),
    "forest": RandomForestClassifier(5, min_samples_leaf=2, random_state=0),
    "extra trees": ExtraTreesClassifier(5, random_state=0),
    "gradient boosting": GradientBoostingClassifier(n_estimators=5, random_state=0),
    "histograms": HistGradientBoostingClassifier(max_iter=9),
    "bagging": BaggingClassifier(n_estimators=3, random_state=0),
    "neighbours": KNeighborsClassifier(),
    "network": MLPClassifier(hidden_layer_sizes=(9,), max_iter=50, random_state=0),
    "naive bayes": GaussianNB(),
    "calibrated": CalibratedClassifierCV(SVC(), cv=2),
    "lightgbm": lightgbm.LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1),
    "vote": VotingClassifier([("one", GaussianNB()), ("two", LogisticRegression())], voting="soft"),
    "stack": StackingClassifier(
        [("one", GaussianNB()), ("two", HistGradientBoostingClassifier(max_iter=5))], cv=2
    ),
}


def data():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "mass": rng.normal(1500, 300, ROWS).clip(500),
            "part": rng.uniform(0, 1, ROWS).round(3),
            "sail": rng.random(ROWS) < 0.5,
            "hull": rng.choice(["wood", "steel", ""], ROWS),
        }
    )
    frame.loc[::17, "part"] = np.nan
    signal = frame["mass"] / 100 + 9 * frame["part"].fillna(0.5) + 5 * (frame["hull"] == "wood")
    target = (signal + rng.normal(0, 1, ROWS)).clip(0.1).to_numpy()
    classes = np.array(["low", "mid", "high"], object)[pd.qcut(target, 3, labels=False)]
    return frame, target, classes


def features():
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    logarithm = FunctionTransformer(np.log, feature_names_out="one-to-one")
    return ColumnTransformer(
        [
            ("numbers", numbers, ["mass", "part"]),
            ("logarithm", logarithm, ["mass"]),
            ("hull", OneHotEncoder(handle_unknown="ignore"), ["hull"]),
        ],
        remainder="passthrough",
        sparse_threshold=0,
    )


@cache
def fitted(name, *, classifies):
    frame, target, classes = data()
    estimator = clone((CLASSIFIERS if classifies else REGRESSORS)[name])
    pipeline = Pipeline([("features", features()), ("last", estimator)])
    with threadpool_limits(1):
        return pipeline.fit(frame, classes if classifies else target)


def exported(pipeline):
    answer = Probabilities if is_classifier(pipeline) else Number
    return convert("boats", pipeline, Request, answer).SerializeToString(deterministic=True)


def answers(graph):
    frame, *_ = data()
    return Scorer(graph).score({name: frame[name].to_numpy() for name in frame})


@pytest.mark.parametrize("name", REGRESSORS)
def test_a_regressor_answers_as_scikit_learn_on_every_row(name):
    pipeline = fitted(name, classifies=False)
    found = answers(exported(pipeline))
    expected = {"y": pipeline.predict(data()[0]).ravel()}

    agreement = agree(expected, found, {"y": Tolerance(relative=1e-5)})

    assert agreement.agrees, str(agreement)


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_a_classifier_gives_the_probabilities_and_the_most_probable_class(name):
    pipeline = fitted(name, classifies=True)
    found = answers(exported(pipeline))
    expected = pipeline.predict_proba(data()[0])
    columns = dict(zip(list(Probabilities.model_fields)[1:], expected.T, strict=True))
    labels = np.array(CLASSES, object)[expected.argmax(axis=1)]

    agreement = agree(
        {"y": labels, **columns}, found, dict.fromkeys(columns, Tolerance(1e-5, 1e-5))
    )

    assert agreement.agrees, str(agreement)
    np.testing.assert_allclose(sum(found[column] for column in columns), 1, rtol=1e-12)


def test_a_classifier_without_probabilities_gives_the_label_alone():
    frame, _, classes = data()
    pipeline = make_pipeline(features(), RidgeClassifier()).fit(frame, classes)

    found = answers(convert("boats", pipeline, Request, Label).SerializeToString())

    assert found["y"].tolist() == pipeline.predict(frame).tolist()
    with pytest.raises(ExportError, match=r"ridgeclassifier \(RidgeClassifier\).* no probabilit"):
        exported(pipeline)


AGAIN = """
import hashlib, sys, joblib
import numpy as np, xgboost, lightgbm
from tests.models.test_onnx_export import exported
for path in sys.argv[1:]:
    print(hashlib.sha256(exported(joblib.load(path))).hexdigest())
"""


def test_another_process_makes_the_same_bytes(root, tmp_path):
    # given estimators that were exported in a process that exported others before
    regressors = ("neighbours", "gaussian process", "stack of histograms", "lightgbm")
    pipelines = [fitted(name, classifies=False) for name in regressors]
    pipelines += [fitted(name, classifies=True) for name in ("stack", "calibrated")]
    paths = [tmp_path / f"{number}.joblib" for number in range(len(pipelines))]
    for path, pipeline in zip(paths, pipelines, strict=True):
        joblib.dump(pipeline, path)

    # when a process with other hashes of strings exports them in another order
    done = subprocess.run(
        [sys.executable, "-c", AGAIN, *reversed(paths)],
        cwd=root,
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=False,
    )

    # then the graphs are the same
    assert done.returncode == 0, done.stderr
    digests = [hashlib.sha256(exported(pipeline)).hexdigest() for pipeline in pipelines]
    assert done.stdout.split() == digests[::-1]


@pytest.mark.parametrize(
    ("last", "told"),
    [
        (
            make_pipeline(SplineTransformer(), Ridge()),
            r"The step last\.splinetransformer \(SplineTransformer\) cannot be exported .* has no "
            r"converter\. Replace it by an estimator of https://",
        ),
        (
            StackingRegressor([("odd", make_pipeline(SplineTransformer(), Ridge()))], cv=2),
            r"The step last\.odd\.splinetransformer \(SplineTransformer\)",
        ),
        (HistGradientBoostingRegressor(categorical_features=[3], max_iter=2), "OrdinalEncoder"),
        (make_pipeline(FunctionTransformer(np.sin), Ridge()), "Use one of numpy.log, "),
    ],
)
def test_what_cannot_be_exported_is_refused_with_the_step_and_what_to_do(last, told):
    frame, target, _ = data()
    pipeline = Pipeline([("features", features()), ("last", last)]).fit(frame, target)

    with pytest.raises(ExportError, match=told):
        exported(pipeline)


def test_strings_and_numbers_in_one_step_and_other_columns_are_refused():
    frame, target, _ = data()
    mixed = make_pipeline(OneHotEncoder(handle_unknown="ignore"), Ridge()).fit(frame, target)
    other = LinearRegression().fit(frame[["mass"]].rename(columns={"mass": "length"}), target)

    with pytest.raises(ExportError, match=r"onehotencoder .*Put them apart in a ColumnTransformer"):
        exported(mixed)
    with pytest.raises(ExportError, match="has no number, boolean or string length"):
        exported(other)


def test_boosting_without_its_converter_names_the_extra(monkeypatch):
    pipeline = fitted("xgboost", classifies=False)
    monkeypatch.setattr(onnx_converters, "find_spec", lambda name: None)
    monkeypatch.delitem(onnx_converters.sklearn_operator_name_map, xgboost.XGBRegressor)

    with pytest.raises(ExportError, match="Install the extra boosting"):
        exported(pipeline)
