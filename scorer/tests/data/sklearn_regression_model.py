"""How ``sklearn_regression_model.pkl`` was made: Python 3.6.15, scikit-learn 0.19.1, numpy 1.16.6.

Kept as a file because neither that interpreter nor wheels of that age are to be had everywhere. The pickle names
``sklearn.linear_model.ridge.Ridge`` and ``sklearn.externals.joblib.numpy_pickle``, both long gone.
"""

from sklearn.datasets import load_diabetes
from sklearn.externals import joblib
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split

features, target = load_diabetes(return_X_y=True)
train, _, train_target, _ = train_test_split(features, target, test_size=0.2, random_state=0)
model = Ridge(alpha=0.4).fit(train, train_target)
joblib.dump(model, "sklearn_regression_model.pkl")
print(repr(model.predict([[10, 9, 8, 7, 6, 5, 4, 3, 2, 1]])[0]))  # noqa: T201
