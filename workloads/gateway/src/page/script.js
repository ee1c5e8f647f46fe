// Comfort on top of a page that works without scripts: dropping files, progress, drawing a region.
"use strict";

document.documentElement.classList.add("with-script");

// The file that was searched with: it is not stored on the server, so it is sent again when the search is narrowed.
let queryFile = null;
let request = null;

const element = (id) => document.getElementById(id);
const say = (text) => { element("live").textContent = text; };

function formOf(extraFile) {
  const form = element("search");
  const data = new FormData(form);
  data.delete("file");
  if (extraFile) {
    data.delete("id");
    data.append("file", extraFile, extraFile.name);
  }
  return data;
}

function submitSearch() {
  if (queryFile) return sendFile(queryFile);
  const data = formOf(null);
  if (!data.get("id")) return undefined;
  const address = new URLSearchParams();
  for (const [name, value] of data) if (value.trim()) address.append(name, value.trim());
  location.assign("/?" + address);
  return undefined;
}

function sendFile(file) {
  if (request) request.abort();
  const progress = element("search-progress");
  progress.hidden = false;
  progress.removeAttribute("value");
  document.body.classList.add("busy");
  say("Searching");
  request = new XMLHttpRequest();
  request.open("POST", "/");
  request.setRequestHeader("Accept", "text/html");
  request.upload.onprogress = (event) => { if (event.lengthComputable && event.loaded < event.total) progress.value = event.loaded / event.total; };
  request.upload.onload = () => progress.removeAttribute("value");
  request.onload = () => { queryFile = file; show(request.responseText); };
  request.onerror = () => fail("The server does not answer. Is it still running?");
  request.onloadend = () => { document.body.classList.remove("busy"); element("search-progress").hidden = true; };
  request.send(formOf(file));
}

function show(text) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const content = page.getElementById("content");
  if (!content) return fail("The answer cannot be read. Load the page again.");
  element("content").replaceWith(document.adoptNode(content));
  document.title = page.title;
  if (location.search) history.pushState(null, "", "/");
  prepare();
  const title = document.querySelector("#results h2");
  if (title) {
    say(title.textContent);
    title.focus({ preventScroll: true });
    if (window.matchMedia("(max-width: 52rem)").matches) title.scrollIntoView({ block: "start" });
  }
  return undefined;
}

function fail(message) {
  const box = document.createElement("section");
  box.className = "alert";
  box.setAttribute("role", "alert");
  box.textContent = message;
  element("results").replaceChildren(box);
}

// Region of interest: a box dragged on the query image, in pixels of the image.
function prepareCanvas() {
  const canvas = element("canvas");
  if (!canvas) return;
  const { width, height } = canvas.viewBox.baseVal;
  let start = null;
  canvas.classList.add("drawable");
  const point = (event) => {
    const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(canvas.getScreenCTM().inverse());
    const clamp = (value, limit) => Math.min(Math.max(Math.round(value), 0), limit);
    return { x: clamp(place.x, width), y: clamp(place.y, height) };
  };
  const boxOf = (a, b) => ({ x: Math.min(a.x, b.x), y: Math.min(a.y, b.y), width: Math.abs(a.x - b.x), height: Math.abs(a.y - b.y) });
  canvas.addEventListener("dragstart", (event) => event.preventDefault());
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    start = point(event);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => { if (start) draw(canvas, boxOf(start, point(event))); });
  canvas.addEventListener("pointercancel", () => { start = null; });
  canvas.addEventListener("pointerup", (event) => {
    if (!start) return;
    const box = boxOf(start, point(event));
    start = null;
    if (box.width < 4 || box.height < 4) return;
    element("roi").value = [box.x, box.y, box.width, box.height].join(",");
    submitSearch();
  });
}

function draw(canvas, box) {
  let rect = canvas.querySelector("rect");
  if (!rect) {
    rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    rect.setAttribute("class", "region");
    canvas.append(rect);
  }
  for (const name of ["x", "y", "width", "height"]) rect.setAttribute(name, box[name]);
}

// Adding files: one request a file, so that each has its own progress and its own answer.
async function addFiles(form) {
  const files = Array.from(element("add-files").files);
  const label = form.elements.label.value.trim();
  const progress = element("add-progress");
  const list = element("added");
  const button = form.querySelector("button");
  list.replaceChildren();
  progress.hidden = false;
  button.disabled = true;
  for (let index = 0; index < files.length; index += 1) {
    const line = document.createElement("li");
    line.textContent = files[index].name + " …";
    list.append(line);
    const part = (share) => { progress.value = (index + share) / files.length; };
    try {
      const accepted = await sendToIndex(files[index], label, part);
      const link = document.createElement("a");
      link.href = "/?id=" + encodeURIComponent(accepted.id);
      link.textContent = files[index].name;
      line.replaceChildren(link, accepted.duplicate ? " was here already" : " is searchable in a moment");
      if (!accepted.duplicate) followUp(accepted.id, line, link);
    } catch (error) {
      line.textContent = files[index].name + " was refused: " + error.message;
    }
  }
  progress.hidden = true;
  button.disabled = false;
}

function sendToIndex(file, label, part) {
  return new Promise((resolve, reject) => {
    const data = new FormData();
    if (label) data.append("label", label);
    data.append("file", file, file.name);
    const upload = new XMLHttpRequest();
    upload.open("POST", "/api/v1/images");
    upload.responseType = "json";
    upload.upload.onprogress = (event) => { if (event.lengthComputable) part(event.loaded / event.total); };
    upload.onload = () => {
      if (upload.status === 202) resolve(upload.response);
      else reject(new Error(upload.response?.detail ?? "status " + upload.status));
    };
    upload.onerror = () => reject(new Error("the server does not answer"));
    upload.send(data);
  });
}

async function followUp(id, line, link) {
  for (let wait = 200; wait < 20000; wait *= 1.6) {
    await new Promise((resolve) => setTimeout(resolve, wait));
    const answer = await fetch("/api/v1/images/" + id).catch(() => null);
    const image = answer?.ok ? await answer.json() : null;
    if (image?.status === "indexed") return line.replaceChildren(link, " is searchable");
    if (image?.status === "failed") return line.replaceChildren(link.textContent + " was refused: " + (image.reason ?? ""));
  }
  return undefined;
}

function prepare() {
  const search = element("search");
  if (!search) return;
  search.addEventListener("submit", (event) => {
    const chosen = element("file").files[0];
    if (!chosen && !queryFile && !search.elements.id) return;
    event.preventDefault();
    if (chosen) sendFile(chosen); else submitSearch();
  });
  element("file").addEventListener("change", (event) => {
    const file = event.target.files[0];
    if (file) start(file);
  });
  document.querySelectorAll(".narrow select").forEach((select) => select.addEventListener("change", submitSearch));
  element("clear-region")?.addEventListener("click", () => { element("roi").value = ""; submitSearch(); });
  element("add").addEventListener("submit", (event) => { event.preventDefault(); addFiles(event.target); });
  prepareCanvas();
}

// A new image starts with the whole of it.
function start(file) {
  element("roi").value = "";
  const frame = element("search").elements.frame;
  if (frame) frame.value = "";
  sendFile(file);
}

document.addEventListener("dragover", (event) => {
  if (!event.dataTransfer?.types.includes("Files")) return;
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("dragging"); });
document.addEventListener("drop", (event) => {
  document.body.classList.remove("dragging");
  const file = event.dataTransfer?.files[0];
  if (!file) return;
  event.preventDefault();
  if (element("search")) start(file);
});
prepare();
