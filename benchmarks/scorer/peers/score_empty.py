"""The smallest script there is: what it costs is the server's own."""


def init():
    pass


def run(data):  # noqa: ARG001
    return [45.0]
