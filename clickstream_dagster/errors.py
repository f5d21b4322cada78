"""Mistakes that a user can mend: each message says what was wrong, where, and what to do."""


class ClickstreamError(Exception):
    """Base of every error that is shown without a traceback."""


class SettingError(ClickstreamError):
    """A setting that can't be used as it is written."""


class SourceError(ClickstreamError):
    """A raw source that can't be listed or read."""


class EngineError(ClickstreamError):
    """A Spark engine that can't be started."""


class LakeError(ClickstreamError):
    """A lake that can't be opened or written."""


class HeldError(LakeError):
    """A lake in which another process is at what this one would do."""


class UnknownCommitError(LakeError):
    """A commit that may have been made or not: its answer was lost."""


class PluginError(ClickstreamError):
    """A plug-in that can't be found, or that breaks its contract."""


class TaskError(ClickstreamError):
    """A task of a batch that failed for a reason of its own."""


class InfraError(ClickstreamError):
    """Infrastructure that can't be looked at, planned or made as the YAML says."""
