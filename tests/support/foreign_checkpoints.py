"""Checkpoints as the authors' program makes them: the whole pickled network.

Its classes have modules that exist only while they are written.
"""

from __future__ import annotations

import pickle
from collections import OrderedDict
from pathlib import Path

import torch

from yolov4sdk.models import Model


class Foreign:
    """Stands for a class of the authors' program; written under `module.name`."""


def foreign(module: str, name: str, state: dict) -> Foreign:
    kind = type(name, (Foreign,), {})
    kind.__module__, kind.__qualname__ = module, name
    item = kind()
    item.__dict__.update(state)
    return item


def foreign_tree(module: torch.nn.Module, root: bool = True) -> Foreign:
    """A model as a tree of foreign objects with _parameters, _buffers and _modules."""
    state = {
        "_parameters": OrderedDict(module._parameters),
        "_buffers": OrderedDict(module._buffers),
        "_modules": OrderedDict((k, foreign_tree(m, False)) for k, m in module._modules.items()),
        "training": False,
    }
    if isinstance(module, torch.nn.BatchNorm2d):
        state["eps"] = module.eps
    if isinstance(module, Model):
        state |= {"yaml": dict(module.spec.architecture), "names": list(module.spec.names)}
    place = type(module).__module__
    return foreign("models.common" if place.startswith("yolov4sdk") else place,
                   type(module).__name__, state)  # fmt: skip


class ForeignPickler(pickle._Pickler):
    """Writes classes by their claimed name, without checking that they can be imported."""

    def save_type(self, obj: type) -> None:
        if issubclass(obj, Foreign):
            self.write(pickle.GLOBAL + f"{obj.__module__}\n{obj.__qualname__}\n".encode())
            self.memoize(obj)
        else:
            self.save_global(obj)

    dispatch = pickle._Pickler.dispatch | {type: save_type}


class Writer:
    """The `pickle_module` that torch.save is given."""

    Pickler = ForeignPickler
    dump, dumps = staticmethod(pickle.dump), staticmethod(pickle.dumps)


def save(content: object, path: Path, zipped: bool = True) -> Path:
    torch.save(content, path, pickle_module=Writer, _use_new_zipfile_serialization=zipped)
    return path
