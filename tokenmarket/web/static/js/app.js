// What every page needs: theme, language, copying, dialogs in browsers without invoker commands,
// tooltips of charts, code tabs, messages. A page is readable and its forms work without it.
// Other scripts call `toast(text)`; texts for people come from `data-*` attributes.

import { drawers, filters, live, parts } from "./fragment.js";

const YEAR_S = 31536000;
const $ = (selector, root = document) => root.querySelector(selector);
const all = (selector, root = document) => root.querySelectorAll(selector);

export function remember(name, value) {
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `${name}=${encodeURIComponent(value)}; path=/; max-age=${YEAR_S}; samesite=lax${secure}`;
}

export function toast(text) {
  const line = document.createElement("div");
  line.className = "toast";
  line.textContent = text;
  $("#toasts").append(line);
  setTimeout(() => line.remove(), 4000);
}

// --- theme and language

const THEMES = ["auto", "light", "dark"];

function nextTheme(button) {
  const root = document.documentElement;
  const theme = THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length];
  root.dataset.theme = theme;
  button.setAttribute("aria-label", button.dataset[theme]);
  remember("tm_theme", theme);
}

function changeLanguage(link, event) {
  remember("tm_lang", link.dataset.lang);
  if (location.hash && !event.ctrlKey && !event.metaKey) {
    event.preventDefault();
    location.assign(link.href + location.hash);
  }
}

// --- copying

async function copy(text, button) {
  const { copied, failed } = document.body.dataset;
  try {
    await navigator.clipboard.writeText(text);
    toast(copied);
  } catch {
    // No clipboard without https: mark the text, so that Ctrl+C takes it.
    const source = button.closest(".copyfield, .copyable, .code")?.querySelector("code");
    if (source) getSelection().selectAllChildren(source);
    toast(failed);
  }
}

// --- dialogs: `command`/`commandfor` is the browser's own; this is for those without it

function command(button) {
  const dialog = document.getElementById(button.getAttribute("commandfor"));
  if (button.getAttribute("command") === "show-modal") dialog?.showModal();
  else dialog?.close();
}

const invokers = "command" in HTMLButtonElement.prototype;

document.addEventListener("click", (event) => {
  const at = (selector) => event.target.closest?.(selector);
  let found;
  if ((found = at("[data-theme-toggle]"))) nextTheme(found);
  else if ((found = at("[data-lang]"))) changeLanguage(found, event);
  else if ((found = at("[data-copy]"))) copy(found.dataset.copy, found);
  else if ((found = at("[data-copy-code]"))) copy($("code", found.closest(".code")).textContent, found);
  else if (!invokers && (found = at("button[commandfor]"))) command(found);
  else if (event.target.matches?.("dialog:not([closedby])")) event.target.close();
});

// A click beside a dialog closes it, also where `closedby` is not known.
if (!("closedBy" in HTMLDialogElement.prototype)) {
  document.addEventListener("click", (event) => {
    if (event.target.matches?.("dialog[closedby=any]")) event.target.close();
  });
}

// --- forms: a second press sends nothing; what must be typed is compared

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.getAttribute("method") !== "post" || event.defaultPrevented) return;
  if (form.dataset.sent) return event.preventDefault();
  form.dataset.sent = "1";
  event.submitter?.setAttribute("aria-busy", "true");
  setTimeout(() => released(form), 8000); // an answer that is a download leaves the page as it is
});

function released(form) {
  delete form.dataset.sent;
  for (const button of all("[aria-busy]", form)) button.removeAttribute("aria-busy");
}

addEventListener("pageshow", () => all("form[data-sent]").forEach(released));

function compareTyped(input) {
  const button = $("[data-confirms]", input.form);
  if (button) button.disabled = input.value !== input.dataset.typed;
}

for (const input of all("[data-typed]")) compareTyped(input);
document.addEventListener("input", (event) => {
  if (event.target.matches("[data-typed]")) compareTyped(event.target);
});

// --- code tabs: one choice for every block of the page, kept for the next one

document.addEventListener("change", (event) => {
  if (!event.target.matches("[data-code]")) return;
  const { value } = event.target;
  remember("tm_code", value);
  for (const radio of all("[data-code]")) if (radio.value === value) radio.checked = true;
});

// --- tooltips of charts: data-tip = lines of "name TAB value", data-cls = their classes

const tip = $("#tip");
let tipped = null;

function showTip(mark, x, y) {
  if (mark !== tipped) {
    tipped = mark;
    const series = (mark.dataset.cls ?? "").split(" ");
    tip.replaceChildren(
      ...mark.dataset.tip.split("\n").map((text, index) => {
        const line = document.createElement("div");
        if (index && series[index - 1]) {
          const key = document.createElement("i");
          key.className = series[index - 1];
          line.append(key);
        }
        for (const part of text.split("\t")) {
          const word = document.createElement("span");
          word.textContent = part;
          line.append(word);
        }
        return line;
      }),
    );
  }
  tip.hidden = false;
  tip.style.left = `${Math.max(8, Math.min(x + 14, innerWidth - tip.offsetWidth - 8))}px`;
  tip.style.top = `${Math.max(8, y - tip.offsetHeight - 10)}px`;
}

document.addEventListener("pointermove", (event) => {
  const mark = event.target.closest?.("[data-tip]");
  if (mark) showTip(mark, event.clientX, event.clientY);
  else if (!tip.hidden) tip.hidden = true;
});

// --- keyboard: `/` goes to the search

document.addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest?.("input, textarea, select, [contenteditable]")) return;
  const search = $("[data-slash]");
  if (search?.offsetParent) {
    event.preventDefault();
    search.focus();
  }
});

// --- files dropped on their field

for (const kind of ["dragover", "dragleave", "drop"]) {
  document.addEventListener(kind, (event) => {
    const zone = event.target.closest?.("[data-drop]");
    if (!zone) return;
    event.preventDefault();
    zone.classList.toggle("over", kind === "dragover");
    const input = $("input[type=file]", zone);
    if (kind === "drop" && event.dataTransfer.files.length) {
      input.files = event.dataTransfer.files;
      input.dispatchEvent(new Event("change", { bubbles: true }));
    }
  });
}

// --- tables on phones: each cell says its column

export function labelCells(root = document) {
  for (const table of all("table.t.list", root)) {
    const names = [...all("thead th", table)].map((cell) => $(".vh", cell) ? "" : cell.textContent.trim());
    for (const row of all("tbody tr, tfoot tr", table)) {
      if (row.children.length !== names.length) continue;
      [...row.children].forEach((cell, index) => {
        if (!cell.hasAttribute("data-label")) cell.dataset.label = index ? names[index] : "";
      });
    }
  }
}

labelCells();
document.addEventListener("fragment", (event) => labelCells(event.target));
filters();
drawers();
parts();
live();
