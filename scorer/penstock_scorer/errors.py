"""What can go wrong before a request is served, one class per failure.

    ScorerError
    |-- SettingsError          a flag, variable or configuration file is wrong
    |   `-- AddressInUseError  the port or socket cannot be had
    `-- ScriptError            the user's script cannot be served
        |-- ScriptNotFoundError
        |-- ScriptImportError  it raised while it was imported, syntax errors included
        |-- MissingFunctionError  it has no init() or no run()
        |-- BadSignatureError  its run() cannot be called with one input
        |-- InitError          its init() raised
        |-- MetadataError      its metadata() raised, or describes no tensors
        `-- WorkerDiedError    its process ended while it loaded

``str(error)`` is the one sentence a user reads; ``reason`` is for machines; ``hint`` says what to do.
"""

from __future__ import annotations


class ScorerError(Exception):
    """A failure with a machine-readable reason and a sentence for the user."""

    reason = "ScorerError"
    hint = ""


class SettingsError(ScorerError):
    """A flag, an environment variable or the configuration file is wrong."""

    reason = "InvalidSettings"
    hint = "Correct the named setting and start again."


class AddressInUseError(SettingsError):
    """Another process listens on the port, or the socket cannot be created."""

    reason = "AddressInUse"
    hint = "Choose another --port or --uds, or stop the process that has it."


class ScriptError(ScorerError):
    """The user's script cannot be served."""

    reason = "ScriptError"


class ScriptNotFoundError(ScriptError):
    """The entry script does not exist."""

    reason = "ScriptNotFound"
    hint = "Check --entry_script (or AML_APP_ROOT and AZUREML_ENTRY_SCRIPT)."


class ScriptImportError(ScriptError):
    """The script raised while it was imported."""

    reason = "ScriptImportFailed"
    hint = "Fix the error in the traceback."


class MissingFunctionError(ScriptError):
    """The script has no ``init`` or no ``run``."""

    reason = "MissingFunction"
    hint = "A script defines init() and run(data)."


class BadSignatureError(ScriptError):
    """``run`` cannot be called with one input."""

    reason = "BadSignature"
    hint = "Give run() one parameter for the input, and optionally request_headers."


class InitError(ScriptError):
    """``init`` raised."""

    reason = "InitFailed"
    hint = "Fix the error in the traceback."


class WorkerDiedError(ScriptError):
    """The worker process ended while the script was loading."""

    reason = "WorkerDied"
    hint = "Look for a native crash, a call of os._exit, or too little memory."


class MetadataError(ScriptError):
    """The script's ``metadata()`` raised, or describes its tensors wrongly."""

    reason = "BadMetadata"
    hint = 'Return {"inputs": [{"name", "datatype", "shape"}, ...], "outputs": [...]}.'
