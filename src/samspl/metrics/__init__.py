"""Metrics of infrared small target detection: functions, torchmetrics, curves; profiles `published` and
`strict`."""

from samspl.metrics.detection import Fa, Pd, fa, pd
from samspl.metrics.pixel import (
    F1,
    PROFILES,
    IoU,
    NIoU,
    Precision,
    Profile,
    Recall,
    f1,
    iou,
    niou,
    precision,
    recall,
)
from samspl.metrics.suite import DetectionSuite, Scores, score

__all__ = [
    "F1",
    "PROFILES",
    "DetectionSuite",
    "Fa",
    "IoU",
    "NIoU",
    "Pd",
    "Precision",
    "Profile",
    "Recall",
    "Scores",
    "f1",
    "fa",
    "iou",
    "niou",
    "pd",
    "precision",
    "recall",
    "score",
]
