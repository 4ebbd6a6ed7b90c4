# Copyright 2026 The molmo_ros authors
# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint's folder to an engine in this process; imports torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from molmo_ros.engine.answers import EngineError
from molmo_ros.engine.local import LocalEngine
from molmo_ros.engine.networks import Loaded
from molmo_ros.errors import shortened
from molmo_ros.model.config import UnsupportedCheckpoint, model_type
from molmo_ros.model.loading import load_molmo
from molmo_ros.model.molmo2 import load_molmo2
from molmo_ros.model.molmo_point_loading import load_molmo_point
from molmo_ros.model.options import LoadOptions

_LOADERS: Mapping[str, Callable[..., Loaded]] = {
    'molmo2': load_molmo2,
    'molmo_point': load_molmo_point,
}


def open_local(
    folder: Path, options: LoadOptions, on_progress: Callable[[str, float], None] | None
) -> LocalEngine:
    """See `molmo_ros.engine.load_engine`."""

    stopped: list[BaseException] = []  # by whoever is told how far it is

    def progress(share: float) -> None:
        try:
            if on_progress is not None:
                on_progress('loading weights', share)
        except BaseException as error:
            stopped.append(error)
            raise

    try:
        # Whatever it is not, `load_molmo` says.
        load_model = _LOADERS.get(model_type(folder), load_molmo)
        # Of a head, the largest matrix, there are two for a moment: not where memory is short.
        sole = options.quantize == 'none'
        return LocalEngine(load_model(folder, options, progress), sole=sole)
    except UnsupportedCheckpoint as error:
        said = str(error)
        raise EngineError(said if str(folder) in said else f'{folder}: {said}') from error
    except ValueError as error:
        raise EngineError(str(error)) from error
    except OSError as error:
        raise EngineError(f'{folder} cannot be read: {error}') from error
    except MemoryError as error:
        raise EngineError(f'{folder} needs more memory than there is') from error
    except Exception as error:
        if isinstance(error, EngineError) or error in stopped:
            raise
        raise EngineError(
            f'{folder} cannot be loaded ({type(error).__name__}: {shortened(error, 300)}): is the '
            'checkpoint whole, and of a release?'
        ) from error
