"""The page: its controls, and what happens when one is used."""

import secrets
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from samspl.errors import SamsplError
from samspl.postprocess import check_threshold
from samspl.web import jobs
from samspl.web.files import STRETCHES
from samspl.web.jobs import Frame, Upload
from samspl.web.scenes import RECIPES
from samspl.web.sessions import Session, Sessions
from samspl.web.view import api_view, empty_view, results_view
from samspl.web.weights import Detectors

TITLE = "Infrared small targets"
STATIC = Path(__file__).parent / "static"
_GONE = "These results are no longer kept; choose the images again."
_HINT = "PNG, TIFF, JPEG, BMP or NPY, 8 or 16 bit, up to {limit:g} MB each"

View = dict[str, Any]


class Handlers:
    """What happens when a control of the page is used, or the HTTP API."""

    def __init__(self, detectors: Detectors, sessions: Sessions) -> None:
        self.detectors = detectors
        self.sessions = sessions

    def upload(
        self,
        files: Any,
        weights: str,
        threshold: float,
        stretch: str,
        request: gr.Request,
        progress: gr.Progress = gr.Progress(),  # noqa: B008 - gradio looks for it here
    ) -> tuple[View, None]:
        """Look for targets in files; also empties the field they were dropped on."""
        frames, problems = jobs.read_uploads(_uploads(files))
        return self._run(frames, problems, weights, threshold, stretch, request, progress), None

    def sample(
        self, weights: str, threshold: float, stretch: str, event: gr.EventData, request: gr.Request
    ) -> View:
        """Look for targets in a sample scene."""
        recipe = next((r for r in RECIPES if r.name == event._data.get("name")), None)
        if recipe is None:
            return empty_view(["There is no such sample."])
        image = jobs.read_sample(recipe)
        return self._run([image], [], weights, threshold, stretch, request)

    def choose_weights(self, weights: str, request: gr.Request) -> float | dict[str, Any]:
        """Set the slider to other weights' own threshold, at once: who moves it before they have run means it."""
        try:
            threshold = self.detectors.get(weights).threshold
        except SamsplError:
            return gr.skip()  # `weights` says why
        self.sessions.looks_of(_visitor(request)).threshold = threshold
        return threshold

    def weights(self, weights: str, request: gr.Request) -> tuple[View, float | dict[str, Any]]:
        """Run the chosen weights on the images that are there; also shows the threshold that the results have."""
        visitor = _visitor(request)
        session = self.sessions.of(visitor)
        if session is None:
            try:
                self.detectors.get(weights)
            except SamsplError as err:
                return empty_view([str(err)]), gr.skip()
            return empty_view(), gr.skip()
        frames = [Frame(kept.name, kept.image) for kept in session.kept]
        view = self._run(
            frames, [], weights, session.threshold, session.stretch, request, is_same_images=True
        )
        shown = self.sessions.of(visitor)
        if shown is None:
            return view, gr.skip()
        if (
            shown is session
        ):  # none of the images could be used with them: the results before stay, and the slider
            self.sessions.looks_of(visitor).threshold = shown.threshold
        return view, shown.threshold

    def threshold(self, threshold: float, request: gr.Request) -> View:
        """Apply another threshold to the probabilities that are kept."""
        try:
            checked = _threshold(threshold)
        except ValueError as err:
            return self._view(_visitor(request), [str(err)])
        self.sessions.looks_of(_visitor(request)).threshold = checked
        return self._change(request, lambda session: setattr(session, "threshold", checked))

    def stretch(self, stretch: str, request: gr.Request) -> View:
        """Show the values otherwise."""
        chosen = _stretch(stretch)
        self.sessions.looks_of(_visitor(request)).stretch = chosen
        return self._change(request, lambda session: setattr(session, "stretch", chosen))

    def pick(self, event: gr.EventData, request: gr.Request) -> View:
        """Look at another image."""
        index = int(event._data.get("index", 0))

        def turn_to(session: Session) -> None:
            session.index = min(max(index, 0), len(session.kept) - 1)

        return self._change(request, turn_to)

    def leave(self, request: gr.Request) -> None:
        """Forget a visitor."""
        self.sessions.close(_visitor(request))

    def detect(
        self, files: Any, request: gr.Request, threshold: float | None = None, weights: str | None = None
    ) -> View:
        """Look for targets in files, for programs.

        Args:
            files: One or several, as gradio's clients upload them.
            threshold: Probability above which a pixel is target; None takes that of the weights.
            weights: One of the names that the page offers; None takes the first.
        Returns:
            See `samspl.web.view.api_view`.
        """
        uploads = _uploads(files)
        if not uploads:
            raise gr.Error("no file came; upload one or several, and name them in the first field")
        try:
            detector = self.detectors.get(weights or self.detectors.names[0])
            chosen = detector.threshold if threshold is None else _threshold(threshold)
        except (SamsplError, ValueError) as err:
            raise gr.Error(str(err)) from err
        frames, problems = jobs.read_uploads(uploads)
        visitor = _visitor(request)
        looks = self.sessions.looks_of(visitor)
        kept, more = jobs.detect(detector, frames)
        session = Session(kept, weights or self.detectors.names[0], chosen, "Automatic") if kept else None
        if session is not None and not looks.has_left:
            self.sessions.open(visitor, session)
        return api_view(session, problems + more)

    def _run(
        self,
        frames: Sequence[Frame],
        problems: Sequence[str],
        weights: str,
        threshold: object,
        stretch: str,
        request: gr.Request,
        progress: Any = None,
        is_same_images: bool = False,
    ) -> View:
        visitor = _visitor(request)
        try:
            threshold = _threshold(threshold)
            detector = self.detectors.get(weights)
        except (SamsplError, ValueError) as err:
            return self._view(visitor, [str(err)])
        report = _reporter(progress) if progress is not None else lambda done, total: None
        looks = self.sessions.looks_of(visitor)
        kept, more = jobs.detect(detector, frames, report)
        if looks.has_left:
            return empty_view()
        problems = [*problems, *more]
        if not kept:
            return self._view(visitor, problems)
        session = Session(kept, weights, threshold, _stretch(stretch))
        before = self.sessions.of(visitor)
        if is_same_images and before is not None:
            session.index = min(before.index, len(kept) - 1)
        self.sessions.open(visitor, session)
        with session.lock:
            # only now: a control that moves from here on finds this session, what moved before is in `looks`
            session.threshold = session.threshold if looks.threshold is None else looks.threshold
            session.stretch = looks.stretch or session.stretch
            return results_view(session, problems)

    def _change(self, request: gr.Request, change: Callable[[Session], None]) -> View:
        visitor = _visitor(request)
        session = self.sessions.of(visitor)
        if session is not None:
            with session.lock:
                change(session)
                return results_view(session)
        if self.sessions.was_forgotten(visitor):
            return self._view(visitor, [_GONE])
        return self._view(visitor, [])

    def _view(self, visitor: str, problems: Sequence[str]) -> View:
        session = self.sessions.of(visitor)
        return empty_view(problems) if session is None else _view_of(session, problems)


def _view_of(session: Session, problems: Sequence[str]) -> View:
    with session.lock:
        return results_view(session, problems)


def build_page(detectors: Detectors, sessions: Sessions, max_upload_bytes: int) -> gr.Blocks:
    """Lay out the page and connect its controls; the detector to begin with is loaded."""
    handlers = Handlers(detectors, sessions)
    first = detectors.names[0]
    with gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True) as page:
        gr.HTML(html_template=(STATIC / "header.html").read_text(), apply_default_css=False, elem_id="head")
        with gr.Row(elem_id="main"):
            with gr.Column(scale=1, min_width=290, elem_id="controls"):
                files = gr.File(
                    label="Images", file_count="multiple", height=150, elem_id="files", buttons=[]
                )
                samples = gr.HTML(
                    html_template=_samples_template(max_upload_bytes / 2**20),
                    apply_default_css=False,
                    js_on_load=(STATIC / "samples.js").read_text(),
                    elem_id="samples",
                )
                weights = gr.Dropdown(detectors.names, value=first, label="Weights", elem_id="weights")
                stretch = gr.Dropdown(
                    list(STRETCHES),
                    value="Automatic",
                    label="Contrast",
                    info="For the eye only; results stay as they are",
                    elem_id="stretch",
                )
                threshold = gr.Slider(
                    0.01,
                    0.99,
                    value=detectors.get(first).threshold,
                    step=0.01,
                    label="Threshold",
                    info="Probability above which a pixel is target",
                    elem_id="threshold",
                    buttons=[],
                )
            with gr.Column(scale=3, min_width=320, elem_id="found"):
                results = gr.HTML(
                    value=empty_view(),
                    html_template=(STATIC / "results.html").read_text(),
                    js_on_load=(STATIC / "results.js").read_text(),
                    apply_default_css=False,
                    elem_id="results",
                )
        # inputs of the HTTP API alone; the page has no field for them
        api_threshold = gr.Number(value=None, label="threshold", visible=False)
        api_weights = gr.Textbox(value=None, label="weights", visible=False)
        api_results = gr.JSON(label="results", visible=False)
        api = gr.Button(visible=False)

        private: dict[str, Any] = {"api_visibility": "private", "preprocess": False}
        network: dict[str, Any] = {"concurrency_id": "network", "concurrency_limit": 1}
        quick: dict[str, Any] = {
            "concurrency_id": "quick",
            "concurrency_limit": 4,
            "show_progress": "hidden",
            "trigger_mode": "always_last",
        }
        looks = [weights, threshold, stretch]
        files.upload(
            handlers.upload, [files, *looks], [results, files], **private, **network, show_progress_on=results
        )
        samples.pick(handlers.sample, looks, results, **private, **network)
        chosen = weights.input(handlers.choose_weights, weights, threshold, **private, **quick)
        chosen.then(handlers.weights, weights, [results, threshold], **private, **network)
        threshold.input(handlers.threshold, threshold, results, **private, **quick)
        stretch.input(handlers.stretch, stretch, results, **private, **quick)
        results.pick(handlers.pick, None, results, **private, **quick)
        api.click(
            handlers.detect,
            [files, api_threshold, api_weights],
            api_results,
            api_name="detect",
            preprocess=False,
            **network,
        )
        page.unload(handlers.leave)
    page.queue(max_size=64)
    return page


def _samples_template(max_upload_mb: float) -> str:
    buttons = "".join(
        f'<button type="button" data-name="{r.name}">'
        f'<img src="scenes/{r.name}.png" alt=""><span>{r.title}<small>{r.bits} bit</small></span></button>'
        for r in RECIPES
    )
    hint = f"<p class='hint'>{_HINT.format(limit=max_upload_mb)}</p>"
    return f'{hint}<h2>Or try a sample scene</h2><div class="samples">{buttons}</div>'


def _uploads(files: Any) -> list[Upload]:
    """Files as a request names them, each a dictionary with the path that the gate has checked."""
    listed = files if isinstance(files, list) else [files] if files else []
    return [
        Upload(Path(file["path"]), str(file.get("orig_name") or Path(file["path"]).name))
        for file in listed
        if isinstance(file, dict) and isinstance(file.get("path"), str)
    ]


def _threshold(value: object) -> float:
    """What a request gives for a threshold; raises ValueError for anything but a number between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"threshold is {value!r}; expected a number between 0 and 1")
    check_threshold(value)
    return float(value)


def _stretch(value: str) -> str:
    """What a request gives for the contrast, if there is such a one."""
    return value if value in STRETCHES else "Automatic"


def _visitor(request: gr.Request) -> str:
    """Who asks; programs that do not say are strangers every time."""
    return request.session_hash or secrets.token_urlsafe(16)


def _reporter(progress: Any) -> Callable[[int, int], None]:
    return lambda done, total: progress((done, total), desc="Looking for targets", unit="images")
