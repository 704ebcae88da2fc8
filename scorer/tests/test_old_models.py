"""A model pickled by scikit-learn 0.19.1, served by today's: the value the documentation of the original prints."""

import json
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from penstock_scorer.contract import shims

pytest.importorskip("sklearn")

MODEL = Path(__file__).parent / "data" / "sklearn_regression_model.pkl"
SCRIPT = """
import json, os, warnings
import numpy
from sklearn.externals import joblib
from azureml.core.model import Model
def init():
    global model
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the version differs: that is the point
        model = joblib.load(Model.get_model_path("sklearn_regression_model.pkl"))
def run(raw_data):
    return model.predict(numpy.array(json.loads(raw_data)["data"])).tolist()
"""


def test_a_model_pickled_by_scikit_learn_0_19_1_answers_as_documented(app: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("AZUREML_MODEL_DIR", str(MODEL.parent))
    answer = app(SCRIPT)("POST", body=b'{"data": [[10, 9, 8, 7, 6, 5, 4, 3, 2, 1]]}')
    assert (answer.status, json.loads(answer.answer)) == (200, [3726.9954859385775])


@pytest.mark.parametrize(
    ("old", "name"),
    [
        ("sklearn.linear_model.base", "LinearRegression"), ("sklearn.linear_model.ridge", "Ridge"),
        ("sklearn.linear_model.logistic", "LogisticRegression"), ("sklearn.ensemble.forest", "RandomForestRegressor"),
        ("sklearn.tree.tree", "DecisionTreeClassifier"), ("sklearn.svm.classes", "SVC"),
        ("sklearn.neighbors.regression", "KNeighborsRegressor"), ("sklearn.preprocessing.data", "StandardScaler"),
        ("sklearn.preprocessing.label", "LabelEncoder"), ("sklearn.linear_model.coordinate_descent", "Lasso"),
        ("sklearn.linear_model.stochastic_gradient", "SGDClassifier"),
        ("sklearn.ensemble.gradient_boosting", "GradientBoostingRegressor"),
        ("sklearn.neighbors.classification", "KNeighborsClassifier"), ("sklearn.externals.joblib", "load"),
    ],
)  # fmt: skip
def test_modules_that_moved(old: Any, name: Any) -> None:
    shims.install()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert callable(getattr(import_module(old), name))
