"""Train the two models of this example: a linear one for `blue`, a boosted one for `green`.

    python train.py [FOLDER]

The data comes with scikit-learn: ten measurements of 442 diabetes patients, and how far the disease had come a year
later.
"""

import sys
from pathlib import Path

import joblib
from sklearn.datasets import load_diabetes
from sklearn.ensemble import GradientBoostingRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split


def train(folder: Path) -> dict[str, float]:
    """Write `linear.joblib` and `boosted.joblib`; returns how much of the variance each explains (R²)."""
    folder.mkdir(parents=True, exist_ok=True)
    x, y = load_diabetes(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.2, random_state=0)
    scores = {}
    for name, model in (
        ("linear", Ridge(alpha=0.1)),
        ("boosted", GradientBoostingRegressor(n_estimators=80, max_depth=2, random_state=0)),
    ):
        model.fit(x_train, y_train)
        joblib.dump(model, folder / f"{name}.joblib")
        scores[name] = model.score(x_test, y_test)
    return scores


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "models"
    for model_name, score in train(target).items():
        print(f"{model_name}: R² {score:.2f}")
