"""Why a base model can't be used. Imports nothing, because settings are checked with it at each start."""


class BaseModelError(Exception):
    """A base model can't be used. The message says what was wrong, where, and what to do."""


class UnknownBaseModel(BaseModelError):
    """The text is not a base model reference in a known form."""


class BaseModelMissing(BaseModelError):
    """The package, repository or folder does not exist or can't be reached."""


class HubUnreachable(BaseModelMissing):
    """The Hugging Face hub did not answer, or not with a model."""


class UnsafeModel(BaseModelError):
    """The model carries something that could run code, such as a pickle or remote code."""


class IncompleteModel(BaseModelError):
    """A file that a model needs is missing, truncated, or does not fit the others."""
