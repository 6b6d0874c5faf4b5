"""Models that tests share: small graphs made here, and the real ones where they are at hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REAL = (
    "resnet20_cifar10_fp32.onnx",
    "resnet56_cifar10_fp32.onnx",
    "efficientnet_lite0_in1k_fp32_static.onnx",
    "mediapipe_face_landmark.onnx",
    "mltk_image_classification_fp32.onnx",
    "mltk_keyword_spotting_fp32.onnx",
    "mltk_visual_wake_words_fp32.onnx",
)
"""The real models that the folder holds."""


def shared_folder() -> Path:
    """The folder of real models and data: $PFIR_SHARED, else `shared` beside the checkout."""
    given = os.environ.get("PFIR_SHARED")
    return Path(given) if given else Path(__file__).resolve().parents[3] / "shared"


def shared_model(name: str) -> Path:
    """The path of a real model; the calling test is skipped where the folder is absent."""
    path = shared_folder() / "models" / name
    if not path.exists():
        pytest.skip(f"{name} is not at hand")
    return path
