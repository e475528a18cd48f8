// Video: orders run on the server. The list is what the API knows, so leaving and coming back shows
// the same; what runs is asked for again as often as the API says.
import { busy, call, config, element, failureBox, fill, Form, texts, usd } from "./common.js";

const SHOWN = 20;
const form = document.getElementById("play");
const results = document.getElementById("results");
const jobs = new Map(); // id -> {box, task}

const body = () => ({
  ...settings.base(),
  prompt: settings.value("prompt") || texts.hello,
  seconds: settings.value("seconds") || undefined,
  size: settings.value("size") || undefined,
  resolution: settings.value("resolution") || undefined,
  aspect_ratio: settings.value("aspect_ratio") || undefined,
});

function seconds(can) {
  const given = can.seconds ?? [];
  if (Array.isArray(given)) return given;
  return Array.from({ length: given.max - given.min + 1 }, (_, index) => given.min + index);
}

const settings = new Form(form, config.models, {
  fields: {
    seconds,
    size: (can) => can.sizes ?? [],
    resolution: (can) => can.resolutions ?? [],
    aspect_ratio: (can) => can.aspect_ratios ?? [],
  },
  units: () => ({
    video_second: settings.number("seconds") ?? settings.model.capabilities?.default_seconds ?? NaN,
  }),
  request: () => ({ path: "/videos", body: body() }),
});

// --- one job

const ended = (task) => task.status === "completed" || task.status === "failed";

function bill(task) {
  const { held, charged } = task.billing;
  if (charged !== null) return fill(texts.charged, { amount: usd(charged) });
  return held === null ? "" : fill(texts.held, { amount: usd(held) });
}

function button(text, act) {
  const made = element("button", { type: "button", class: "btn small" }, text);
  made.addEventListener("click", act);
  return made;
}

async function play(task, box) {
  const answer = await call(`/videos/${task.id}/content`, { method: "GET" });
  const src = URL.createObjectURL(await answer.blob());
  const video = element("video", { controls: true, src, "aria-label": task.prompt ?? "" });
  const link = element("a", { href: src, download: `${task.id}.${task.format ?? "mp4"}`, class: "link" }, texts.download);
  box.querySelector("[data-film]").replaceChildren(video, link);
}

function actions(task, box) {
  const failed = (error) => box.append(failureBox(error));
  const made = element("div", { class: "row" });
  if (!ended(task)) {
    const cancel = button(texts.cancel, () => {
      cancel.disabled = true;
      call(`/videos/${task.id}/cancel`).then((answer) => answer.json()).then(draw, failed);
    });
    made.append(cancel);
  } else if (task.status === "completed") {
    made.append(button(texts.play, () => play(task, box).catch(failed)));
  }
  return made;
}

function draw(task) {
  const box = jobs.get(task.id)?.box ?? element("article", { class: "job", "data-job": task.id });
  jobs.set(task.id, { box, task });
  box.dataset.state = task.state;
  const kind = { completed: "ok", failed: "bad" }[task.status] ?? "info";
  const facts = [task.model, task.provider, `${task.seconds ?? "?"} s`, task.size ?? task.resolution].filter(Boolean);
  const film = box.querySelector("[data-film]") ?? element("div", { "data-film": "", class: "stack" });
  const shown = [
    element("div", { class: "row" }, element("span", { class: `pill ${kind}` }, texts.states[task.state] ?? task.state), element("span", { class: "sub" }, facts.join(" · ")), element("span", { class: "sub", "data-charged": task.billing.charged ?? "" }, bill(task))),
    element("h3", { class: "break" }, task.prompt ?? ""),
  ];
  if (!ended(task)) {
    const bar = element("progress", { class: "progress", max: "100", "aria-label": texts.progress });
    if (task.progress) bar.value = task.progress;
    shown.push(bar);
  }
  if (task.error) shown.push(element("p", { class: "bad-text" }, task.error.message ?? task.error.code));
  box.replaceChildren(...shown, actions(task, box), film);
  return box;
}

// --- all jobs

async function load() {
  const found = (await (await call(`/videos?limit=${SHOWN}&order=desc`, { method: "GET" })).json()).data;
  for (const task of found.reverse()) {
    const known = jobs.has(task.id);
    const box = draw(task);
    if (!known) results.prepend(box);
  }
  if (jobs.size) results.querySelector("[data-empty]")?.remove();
}

async function follow() {
  for (;;) {
    const running = [...jobs.values()].map(({ task }) => task).filter((task) => !ended(task));
    const pauses = running.map((task) => task.polling?.retry_after_ms ?? 2000);
    const pause = Math.min(5000, Math.max(1000, Math.min(...pauses, 2000)));
    await new Promise((done) => setTimeout(done, pause));
    if (document.visibilityState !== "visible") continue;
    for (const task of running) {
      try {
        draw(await (await call(`/videos/${task.id}`, { method: "GET" })).json());
      } catch {
        // Asked again in the next round.
      }
    }
  }
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  busy(form, async () => {
    try {
      const task = await (await call("/videos", { body: body() })).json();
      results.querySelector("[data-empty]")?.remove();
      results.prepend(draw(task));
    } catch (error) {
      results.prepend(failureBox(error));
    }
  });
});

load().catch((error) => results.prepend(failureBox(error)));
follow();
