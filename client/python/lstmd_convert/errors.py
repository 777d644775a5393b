# SPDX-License-Identifier: Apache-2.0
"""The one exception that a reader may raise: its text is a line for a person."""


class ConvertError(Exception):
    """What is wrong with the file or the options, and where it helps, what to do about it."""
