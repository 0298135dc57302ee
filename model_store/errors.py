"""Errors of the model store.

    ref --(grammar)--> name, version or label --(exists?)--> folder --(hashes, golden)--> Restorer
         InvalidRef                           UnknownModel            RefusedVersion       |
                                                                                  OutOfDeviceMemory

    staged folder --(verify)--> published version           label --> version
                   RefusedVersion     StoreConflict                  UnknownModel

Messages are complete sentences for the person who asked: what is wrong, the value found, what would be right.
"""


class ModelStoreError(Exception):
    """Base of every expected failure in `model_store`."""


class InvalidRef(ModelStoreError):
    """Text that is no model ref (`name`, `name@3`, `name@stable`)."""


class UnknownModel(ModelStoreError):
    """No such model, version or label in this store."""


class RefusedVersion(ModelStoreError):
    """A version folder that must not be served: missing, changed or extra files, or a golden sample that differs."""


class StoreConflict(ModelStoreError):
    """The store does not allow it: the version exists, is labelled, or the store is read-only."""


class OutOfDeviceMemory(ModelStoreError):
    """The device has not the memory for a run; a smaller one may do."""
