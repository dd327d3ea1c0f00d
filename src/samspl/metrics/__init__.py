"""Metrics of infrared small target detection: functions, torchmetrics, curves; profiles `published` and
`strict`."""

from samspl.metrics.curves import Curve, PdFaCurve, bootstrap_intervals, pd_by
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
    "Curve",
    "DetectionSuite",
    "Fa",
    "IoU",
    "NIoU",
    "Pd",
    "PdFaCurve",
    "Precision",
    "Profile",
    "Recall",
    "Scores",
    "bootstrap_intervals",
    "f1",
    "fa",
    "iou",
    "niou",
    "pd",
    "pd_by",
    "precision",
    "recall",
    "score",
]
