"""Everything SynthRay raises on purpose.

    SynthRayError                exit code 1
    ├── UsageError               exit code 2: the call or the config is wrong
    │   ├── ConfigError          one or more keys of a config file
    │   ├── SourceError          the real data: missing, empty, unreadable
    │   ├── SchemaError          columns that do not fit the data
    │   └── ConditionError       a condition or value the model was not trained on
    ├── StorageError             local disk or S3
    │   ├── NotFoundError        no such file, bucket or prefix
    │   ├── AccessDeniedError    credentials missing, wrong or too weak
    │   ├── AlreadyExistsError   create-once lost: somebody else created it
    │   └── StorageFullError     no space, quota exceeded
    ├── ArtifactError            a trained artifact that is corrupt or too new
    ├── OutputTakenError         the output belongs to a run with other settings
    ├── TrainingError            training cannot go on
    │   ├── NonFiniteError       a loss or a gradient is NaN or infinite
    │   └── CollapseError        the generator lost the data, and lower rates did not help
    ├── ClusterError             Ray could not be reached, or lost a job for good
    ├── MissingDependencyError   an optional package is not installed
    └── GateError                exit code 3: a quality gate was missed

Every message says what is wrong, with the name and the value, and then the remedy.
"""

from __future__ import annotations


class SynthRayError(Exception):
    """Base of all errors that SynthRay raises on purpose.

    Args:
        what: what is wrong, naming the field and the value.
        remedy: what the reader can do about it.
    """

    exit_code = 1

    def __init__(self, what: str, remedy: str = "") -> None:
        self.what = what
        self.remedy = remedy
        super().__init__(what, remedy)

    def __str__(self) -> str:
        return f"{self.what}\n  → {self.remedy}" if self.remedy else self.what


class UsageError(SynthRayError):
    exit_code = 2


class ConfigError(UsageError):
    """All the problems of one config file, told at once."""


class SourceError(UsageError):
    pass


class SchemaError(UsageError):
    pass


class ConditionError(UsageError):
    pass


class StorageError(SynthRayError):
    pass


class NotFoundError(StorageError):
    pass


class AccessDeniedError(StorageError):
    pass


class AlreadyExistsError(StorageError):
    pass


class StorageFullError(StorageError):
    pass


class ArtifactError(SynthRayError):
    pass


class OutputTakenError(SynthRayError):
    pass


class TrainingError(SynthRayError):
    pass


class NonFiniteError(TrainingError):
    pass


class CollapseError(TrainingError):
    pass


class ClusterError(SynthRayError):
    pass


class MissingDependencyError(SynthRayError):
    pass


class GateError(SynthRayError):
    exit_code = 3
