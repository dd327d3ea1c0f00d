"""Scores of anything that turns images into logits, and of finished predictions, with the report of them."""

from samspl.evaluation.processes import Processes
from samspl.evaluation.report import write_report
from samspl.evaluation.result import EvaluationResult, ImageRow, ProfileResult, TargetTable, merge_results
from samspl.evaluation.scoring import evaluate, evaluate_predictions
from samspl.predictions import Sample

__all__ = [
    "EvaluationResult",
    "ImageRow",
    "Processes",
    "ProfileResult",
    "Sample",
    "TargetTable",
    "evaluate",
    "evaluate_predictions",
    "merge_results",
    "write_report",
]
