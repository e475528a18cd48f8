// Parts of pages from the server: results of filters, drawers, figures that are kept fresh. The
// address of a part is the address of its page; the header X-Fragment asks for the block `fragment`
// only. This is the one place where HTML from the server is put into a page: Trusted Types let no
// other script do it. After each change the event `fragment` is sent from the changed element.

const policy = window.trustedTypes
  ? trustedTypes.createPolicy("tokenmarket", { createHTML: (html) => html })
  : { createHTML: (html) => html };

// The part of the page at `url` as nodes. A page elsewhere (signed out) or an error: go there.
export async function fetchPart(url, signal) {
  const answer = await fetch(url, {
    headers: { "X-Fragment": "1" },
    credentials: "same-origin",
    cache: "no-store",
    redirect: "manual",
    signal,
  });
  if (!answer.ok) throw new Error(`${answer.status} ${url}`);
  const template = document.createElement("template");
  template.innerHTML = policy.createHTML(await answer.text());
  return template.content;
}

function changed(element) {
  element.dispatchEvent(new CustomEvent("fragment", { bubbles: true }));
}

// Replace the element `id` by the one of the same id in the part.
function replace(id, part) {
  const old = document.getElementById(id);
  const fresh = part.getElementById(id);
  if (!old || !fresh) throw new Error(`no #${id} in the answer`);
  old.replaceWith(fresh);
  changed(fresh);
}

// --- filters: <form data-fragment="ID">, macro ui.filters

function address(form) {
  const url = new URL(form.action || location.href);
  url.hash = "";
  url.search = "";
  for (const [name, value] of new FormData(form)) if (value !== "") url.searchParams.append(name, value);
  return url;
}

let asking = null;

async function show(id, url) {
  asking?.abort();
  const mine = (asking = new AbortController());
  const target = document.getElementById(id);
  target?.setAttribute("aria-busy", "true");
  try {
    replace(id, await fetchPart(url, mine.signal));
  } catch (error) {
    if (error.name === "AbortError") return;
    location.assign(url);
  }
}

function fillForm(form, url) {
  for (const field of form.elements) {
    if (!field.name) continue;
    const values = url.searchParams.getAll(field.name);
    if (field.type === "checkbox" || field.type === "radio") field.checked = values.includes(field.value);
    else field.value = values[0] ?? "";
  }
}

export function filters() {
  let typing = 0;
  const send = (form) => {
    const url = address(form);
    if (url.href === location.href) return;
    history.pushState({ fragment: form.dataset.fragment }, "", url);
    show(form.dataset.fragment, url);
    followLinks(url);
  };
  document.addEventListener("change", (event) => {
    const form = event.target.form;
    if (form?.dataset.fragment && event.target.type !== "search") send(form);
  });
  const typed = (event) => {
    const form = event.target.form;
    if (!form?.dataset.fragment || event.target.type !== "search" || event.isComposing) return;
    clearTimeout(typing);
    typing = setTimeout(() => send(form), 250);
  };
  document.addEventListener("input", typed);
  document.addEventListener("compositionend", typed); // no input follows it in Chromium
  document.addEventListener("submit", (event) => {
    if (!event.target.dataset?.fragment) return;
    event.preventDefault();
    clearTimeout(typing);
    send(event.target);
  });
  for (const button of document.querySelectorAll("form[data-fragment] [data-submit]")) button.classList.add("vh");
}

// Links of the page that keep its filters (language, CSV) follow the address.
function followLinks(url) {
  for (const link of document.querySelectorAll("[data-lang], [data-keep-query]")) {
    const to = new URL(link.href);
    to.search = url.search;
    link.href = to.href;
  }
}

// --- parts that are asked for: <a data-part="ID" href="…"> puts the element ID of its page here

export function parts() {
  document.addEventListener("click", async (event) => {
    const link = event.target.closest?.("a[data-part]");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    await show(link.dataset.part, link.href);
    document.getElementById(link.dataset.part)?.focus();
  });
}

// --- drawer: <a data-drawer href="…"> shows the page's part beside this page

let opener = null;
let returning = false; // the step back is our own: the page behind the drawer is as it was

async function open(dialog, url) {
  const content = dialog.querySelector(".content");
  content.replaceChildren(await fetchPart(url));
  if (!dialog.open) dialog.showModal();
  content.scrollTop = 0;
  content.focus();
  changed(content);
}

// The link that opened the drawer, or the one in its place if the list was drawn anew meanwhile.
function returnFocus() {
  const links = [...document.querySelectorAll("a[data-drawer]")];
  const link = opener?.isConnected ? opener : links.find((one) => one.href === opener?.href);
  link?.focus();
}

export function drawers() {
  const dialog = document.getElementById("drawer");
  if (!dialog) return;
  document.addEventListener("click", async (event) => {
    const link = event.target.closest?.("a[data-drawer]");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    opener = link;
    try {
      await open(dialog, link.href);
      history.pushState({ drawer: link.href }, "", link.href);
    } catch {
      location.assign(link.href);
    }
  });
  dialog.addEventListener("close", () => {
    dialog.querySelector(".content").replaceChildren();
    if (history.state?.drawer) {
      returning = true;
      history.back();
    }
    returnFocus();
  });
  addEventListener("popstate", () => {
    if (returning) {
      returning = false;
      return;
    }
    const state = history.state;
    if (state?.drawer) {
      open(dialog, state.drawer).catch(() => location.reload());
      return;
    }
    if (dialog.open) dialog.close();
    else refreshFilters();
  });
}

// Back and forward between filters.
function refreshFilters() {
  const form = document.querySelector("form[data-fragment]");
  if (!form) return;
  const url = new URL(location.href);
  fillForm(form, url);
  show(form.dataset.fragment, url);
  followLinks(url);
}

// --- live: <div id="x" data-live="2" data-src="…"> is replaced every two seconds while it is seen;
// without data-src from the address of the page. A part without the attribute ends it.

let following = false;

async function follow() {
  following = true;
  for (;;) {
    const element = document.querySelector("[data-live]");
    if (!element) break;
    const pause_s = Math.max(1, Number(element.dataset.live) || 2);
    await new Promise((done) => setTimeout(done, pause_s * 1000));
    const used = element.contains(document.activeElement) || element.hasAttribute("aria-busy");
    if (!element.isConnected || used || document.visibilityState !== "visible") continue;
    try {
      const part = await fetchPart(element.dataset.src || location.href);
      if (element.isConnected) replace(element.id, part);
    } catch {
      // The server is away or the session ended: the next round tries again.
    }
  }
  following = false;
}

export function live() {
  const start = () => following || follow();
  document.addEventListener("fragment", start);
  start();
}
