"""The script that both servers of the score.py contract are given, and the regression every other peer serves."""

import json

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.linear_model import LinearRegression


def init():
    global model
    model = LinearRegression().fit(*load_diabetes(return_X_y=True))


def predict(rows):
    return model.predict(np.array(rows)).tolist()


def run(data):
    return predict(json.loads(data)["data"])
