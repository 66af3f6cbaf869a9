"""The exceptions of Luthier. Each message says what, where, which value, and what to do.

LuthierError                the base: printed without a traceback, exit code 2
├── ConfigError             a key, value or combination of the configuration
├── DataError               a dataset, file, row or column
├── TemplateError           a chat template or a tool format
├── ModelError              weights, tokenizer, adapter or device
├── CheckpointError         a checkpoint that is broken or belongs to another run
├── TrainingError           a training that cannot go on (NaN loss, out of memory)
├── EngineError             text generation, locally or over HTTP
└── ExportError             merging, converting, writing a model

Anything else that reaches the user is a bug of ours and shows its traceback.
"""


class LuthierError(Exception):
    """Something the user can mend.

    message: what went wrong, where, and with which value.
    remedy: what to do about it; printed on its own line, indented.
    """

    exit_code = 2

    def __init__(self, message: str, remedy: str | None = None):
        self.message = message
        self.remedy = remedy
        super().__init__(f"{message}\n  {remedy}" if remedy else message)


class ConfigError(LuthierError):
    """A key, value or combination of the configuration."""


class DataError(LuthierError):
    """A dataset, file, row or column."""


class TemplateError(LuthierError):
    """A chat template or a tool format."""


class ModelError(LuthierError):
    """Weights, tokenizer, adapter or device."""


class CheckpointError(LuthierError):
    """A checkpoint that is broken or belongs to another run."""


class TrainingError(LuthierError):
    """A training that cannot go on: NaN loss, out of memory."""


class EngineError(LuthierError):
    """Text generation, locally or over HTTP."""


class ExportError(LuthierError):
    """Merging, converting or writing a model."""
