"""A scoring script as it runs on the hosted service, unchanged: `init` loads the model, `run` answers a request."""

import glob
import json
import os

import joblib


def init():
    global model
    (path,) = glob.glob(os.path.join(os.environ["AZUREML_MODEL_DIR"], "*.joblib"))
    model = joblib.load(path)


def run(data):
    rows = json.loads(data)["data"]
    return model.predict(rows).tolist()
