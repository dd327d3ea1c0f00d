// Shows what `samspl.web.view` describes: gradio gives `element`, `props`, `trigger` and `watch`.
// Text goes in as text, never as HTML: names of files come from strangers.
const SVG = "http://www.w3.org/2000/svg";
const MARGIN_PX = 7, ARM_PX = 7, MAX_ZOOM = 64;
const one = (selector) => element.querySelector(selector);
const viewer = one(".viewer"), svg = one("svg"), picture = one("svg image"), marks = one("svg g"), busy = one(".busy");
const LOADING = busy.textContent;
let view = null, chosen = -1;
let place = { x: 0, y: 0, zoom: 1 }; // centre in pixels of the image

function make(tag, text, attributes = {}) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function mark(kind, attributes) {
  const made = document.createElementNS(SVG, kind);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  marks.append(made);
  return made;
}

// pixels of the image in one pixel of the screen
const grain = () => {
  const { width, height } = view.image, box = svg.getBoundingClientRect();
  return Math.max(width / Math.max(box.width, 1), height / Math.max(box.height, 1)) / place.zoom;
};

function frame() {
  if (!view || !view.image) return;
  const { width, height } = view.image, w = width / place.zoom, h = height / place.zoom;
  place.x = Math.min(Math.max(place.x, w / 2), width - w / 2);
  place.y = Math.min(Math.max(place.y, h / 2), height - h / 2);
  svg.setAttribute("viewBox", [place.x - w / 2, place.y - h / 2, w, h].join(" "));
  viewer.classList.toggle("zoomed", place.zoom > 1);
  const unit = grain(), margin = MARGIN_PX * unit;
  marks.replaceChildren();
  view.targets.forEach((target, index) => {
    const [left, top, right, bottom] = target.bbox_xyxy;
    const l = left - margin, t = top - margin, r = right + margin, b = bottom + margin;
    const arm = Math.min(Math.max(ARM_PX * unit, (r - l) / 4), (r - l) / 2);
    const corners = [[l, t, 1, 1], [r, t, -1, 1], [r, b, -1, -1], [l, b, 1, -1]]
      .map(([x, y, dx, dy]) => "M" + x + " " + (y + dy * arm) + "V" + y + "H" + (x + dx * arm)).join("");
    mark("path", { d: corners, class: "halo" });
    mark("path", { d: corners, class: index === chosen ? "line chosen" : "line" });
    if (view.targets.length <= 60 || index === chosen) {
      const atRight = r + 40 * unit < place.x + w / 2;
      const label = mark("text", {
        x: atRight ? r + 3 * unit : l - 3 * unit, y: Math.max(t + 9 * unit, place.y - h / 2 + 12 * unit),
        "font-size": 12 * unit, "stroke-width": 3 * unit, "text-anchor": atRight ? "start" : "end",
      });
      label.textContent = String(index + 1);
    }
  });
}

function zoomBy(factor, x = place.x, y = place.y) {
  const zoom = Math.min(Math.max(place.zoom * factor, 1), MAX_ZOOM), ratio = place.zoom / zoom;
  place = { x: x + (place.x - x) * ratio, y: y + (place.y - y) * ratio, zoom };
  frame();
}

function showAll() {
  chosen = -1;
  place = { x: view.image.width / 2, y: view.image.height / 2, zoom: 1 };
  frame();
}

function showTarget(index) {
  const target = view.targets[index], [left, top, right, bottom] = target.bbox_xyxy;
  const around = Math.max(right - left, bottom - top, 4) * 8;
  chosen = index;
  place = {
    x: target.centroid_xy[0] + 0.5, y: target.centroid_xy[1] + 0.5,
    zoom: Math.min(Math.max(Math.min(view.image.width, view.image.height) / around, 1), MAX_ZOOM),
  };
  frame();
  viewer.scrollIntoView({ block: "nearest", behavior: "smooth" });
}

const number = (value, digits) => (value === null || value === undefined ? "–" : Number(value).toFixed(digits));
const plural = (count, word) => count + " " + word + (count === 1 ? "" : "s");

function fillTable() {
  const body = one("tbody");
  body.replaceChildren(...view.targets.map((target, index) => {
    const [left, top, right, bottom] = target.bbox_xyxy, row = make("tr"), first = make("td");
    const button = make("button", String(index + 1), { type: "button", "aria-label": "Show target " + (index + 1) });
    button.addEventListener("click", () => showTarget(index));
    first.append(button);
    row.append(first, ...[
      number(target.centroid_xy[0], 1), number(target.centroid_xy[1], 1), (right - left) + " × " + (bottom - top),
      String(target.area_px), number(target.score, 2), number(target.peak, target.peak % 1 ? 2 : 0), number(target.scr, 1),
    ].map((text) => make("td", text)));
    return row;
  }));
  one("caption").textContent = view.total ? "Targets" + (view.note ? ". " + view.note : "") : "";
  one(".scroll").hidden = !view.total;
}

function fillStrip() {
  const strip = one(".strip");
  strip.hidden = view.images.length < 2;
  strip.replaceChildren(...view.images.map((image, index) => {
    const button = make("button", image.name, { type: "button", "aria-pressed": String(index === view.index) });
    button.append(make("span", String(image.count), { title: plural(image.count, "target") }));
    button.addEventListener("click", () => trigger("pick", { index }));
    return button;
  }));
}

// which of the targets `was` is now: another threshold makes it larger or smaller and may change its number; -1 if gone
function findAgain(was) {
  const [left, top, right, bottom] = was.bbox_xyxy, [x, y] = was.centroid_xy;
  let best = -1, nearest = Infinity;
  view.targets.forEach(({ bbox_xyxy: [l, t, r, b], centroid_xy }, index) => {
    const apart = Math.hypot(centroid_xy[0] - x, centroid_xy[1] - y);
    if (l < right && left < r && t < bottom && top < b && apart < nearest) [best, nearest] = [index, apart];
  });
  return best;
}

function show() {
  const before = view && view.image ? view.image.url.split("?")[0] : "";
  const had = element.contains(document.activeElement) ? document.activeElement : null;
  const looked = chosen < 0 ? null : view.targets[chosen];
  const hadPick = had && had.closest(".strip") ? [...one(".strip").children].indexOf(had.closest("button")) : -1;
  view = props.value || { problems: [], images: [] };
  const problems = one(".problems");
  problems.hidden = !view.problems.length;
  problems.replaceChildren(...view.problems.map((text) => make("p", text)));
  one(".nothing").hidden = Boolean(view.images.length) || Boolean(view.problems.length);
  one(".found").hidden = !view.images.length;
  if (!view.images.length) return;
  const image = view.image;
  if (picture.getAttribute("href") !== "." + image.url) {
    busy.textContent = LOADING; // the last picture may have failed
    busy.hidden = false;
    picture.setAttribute("href", "." + image.url);
  }
  picture.setAttribute("width", image.width);
  picture.setAttribute("height", image.height);
  viewer.style.aspectRatio = image.width + " / " + image.height;
  one(".summary").replaceChildren(
    make("strong", plural(view.total, "target")), " in " + image.name + " at threshold " + view.threshold.toFixed(2));
  one(".facts").textContent = [image.width + " × " + image.height, image.depth, "weights " + view.weights, image.note]
    .filter(Boolean).join(" · ") + ". Wheel or pinch zooms, dragging moves.";
  one(".downloads").replaceChildren(...view.downloads.map((file) => make("a", file.label, { href: "." + file.url, download: "" })));
  fillStrip();
  fillTable();
  if (before !== image.url.split("?")[0]) {
    showAll();
    // where the columns stand one below the other, what was found begins below the screen
    if (before.split("/")[2] !== image.url.split("/")[2] && element.getBoundingClientRect().top > innerHeight * 0.6)
      (document.getElementById("threshold") || element).scrollIntoView({ behavior: "smooth" });
  }
  else { chosen = looked ? findAgain(looked) : -1; frame(); }
  if (hadPick >= 0) one(".strip").children[hadPick]?.focus();
}

picture.addEventListener("load", () => { busy.hidden = true; });
picture.addEventListener("error", () => { busy.textContent = "This picture is no longer kept; choose the image again."; });

element.querySelector(".zoom").addEventListener("click", (event) => {
  const kind = event.target.dataset.zoom;
  if (kind === "all") showAll();
  else if (kind) zoomBy(kind === "in" ? 2 : 0.5);
});

// where the pointer is, in pixels of the image
function under(event) {
  const box = svg.getBoundingClientRect(), unit = grain();
  return {
    x: place.x + (event.clientX - box.left - box.width / 2) * unit,
    y: place.y + (event.clientY - box.top - box.height / 2) * unit,
  };
}

viewer.addEventListener("wheel", (event) => {
  // the page scrolls past the picture unless somebody works with it
  if (!event.ctrlKey && document.activeElement !== viewer) return;
  event.preventDefault();
  const { x, y } = under(event);
  zoomBy(Math.exp(-event.deltaY / 400), x, y);
}, { passive: false });

const fingers = new Map();
viewer.addEventListener("pointerdown", (event) => {
  fingers.set(event.pointerId, event);
  if (place.zoom > 1 || fingers.size > 1) viewer.setPointerCapture(event.pointerId);
});
viewer.addEventListener("pointermove", (event) => {
  const last = fingers.get(event.pointerId);
  if (!last || !view.image) return;
  if (event.buttons === 0) { fingers.delete(event.pointerId); return; } // released outside the picture; a touch has 1
  const others = [...fingers.values()].filter((finger) => finger.pointerId !== event.pointerId);
  if (others.length) {
    const apart = (finger) => Math.hypot(finger.clientX - others[0].clientX, finger.clientY - others[0].clientY);
    const { x, y } = under(others[0]);
    zoomBy(apart(event) / Math.max(apart(last), 1), x, y);
  } else if (place.zoom > 1) {
    const unit = grain();
    place.x -= (event.clientX - last.clientX) * unit;
    place.y -= (event.clientY - last.clientY) * unit;
    frame();
  }
  fingers.set(event.pointerId, event);
});
for (const end of ["pointerup", "pointercancel"]) viewer.addEventListener(end, (event) => fingers.delete(event.pointerId));
viewer.addEventListener("dblclick", (event) => {
  const { x, y } = under(event);
  zoomBy(4, x, y);
});

viewer.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return; // the browser's own zoom and history
  const step = 60 * grain(), moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  if (event.key === "+" || event.key === "=") zoomBy(2);
  else if (event.key === "-") zoomBy(0.5);
  else if (event.key === "0" || event.key === "Escape") showAll();
  else if (moves[event.key] && place.zoom > 1) {
    place.x += moves[event.key][0] * step;
    place.y += moves[event.key][1] * step;
    frame();
  } else return;
  event.preventDefault();
});

new ResizeObserver(frame).observe(viewer);
watch("value", show);
show();
