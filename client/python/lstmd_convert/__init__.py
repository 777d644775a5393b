# SPDX-License-Identifier: Apache-2.0
"""Turns checkpoints of PyTorch, Keras, PaddlePaddle and MindSpore that hold an LSTM into one safetensors file that
lstmd serves: the weights under the framework's own names, and in its metadata the model's spec (`lstm`, JSON form of
lstmd.v1.ModelSpec) and the weight layout (`layout`).

Nothing in a checkpoint is ever executed: pickles are read by a small interpreter of our own that knows tensors and
plain containers (see pickle_vm.py), and no framework is imported. Only Keras files need a package (h5py).
"""

from .convert import Options, convert
from .errors import ConvertError

__all__ = ["ConvertError", "Options", "convert"]
__version__ = "0.1.0"
