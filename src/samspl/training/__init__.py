"""Training on PyTorch Lightning: resumable to the step, selected on images set aside, recorded in one folder."""
