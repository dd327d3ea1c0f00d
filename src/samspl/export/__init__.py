"""Networks for other runtimes: ONNX and OpenVINO files that hold preprocessing and threshold, checked against torch."""

from samspl.export.run import FORMATS, ExportReport, default_path, export_weights

__all__ = ["FORMATS", "ExportReport", "default_path", "export_weights"]
