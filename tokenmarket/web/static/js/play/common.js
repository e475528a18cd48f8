// What every page of the playground shares: calls under the person's session, receipts, the form's
// model and route, what it will cost, and the same call as code. What a model says is only ever put
// into the page as text.

export const config = JSON.parse(document.getElementById("play-config").textContent);
export const texts = config.texts;

export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value);
  }
  made.append(...children);
  return made;
}

// A table from the cells of its head and its rows.
export function tableBox(head, rows) {
  return element(
    "div",
    { class: "tablewrap" },
    element("table", { class: "t" }, element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...rows)),
  );
}

// Fill {name} in a text of the server.
export function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (all, name) => values[name] ?? all);
}

// --- calls

export class Failure extends Error {
  constructor(status, error) {
    super(error.message ?? String(status));
    this.code = error.code ?? String(status);
    this.requestId = error.request_id;
  }
}

// `body`: an object (JSON) or FormData. Raises Failure with what the API said.
export async function call(path, { method = "POST", body, signal } = {}) {
  const headers = { "X-CSRF": config.csrf, "Accept-Language": config.lang };
  let payload = body;
  if (body && !(body instanceof FormData)) {
    headers["Content-Type"] = "application/json";
    payload = JSON.stringify(body);
  }
  const answer = await fetch(config.api + path, { method, headers, body: payload, signal });
  if (answer.ok) return answer;
  let error = {};
  try {
    error = (await answer.json()).error ?? {};
  } catch {
    // Not our envelope: the status has to do.
  }
  throw new Failure(answer.status, error);
}

export const requestId = (answer) => answer.headers.get("x-request-id");

export const isStop = (error) => error.name === "AbortError";

export function usd(text) {
  return config.sign + text;
}

function duration(ms) {
  if (ms === null || ms === undefined) return null;
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// The receipt of a request that has ended; one that was stopped ends a moment later.
async function receipt(id) {
  for (let turn = 0; ; turn += 1) {
    const found = await (await call(`/requests/${id}`, { method: "GET" })).json();
    if (found.status !== "running" || turn === 20) return found;
    await pause(250);
  }
}

function quantity(items) {
  return items.map((item) => `${texts.units[item.unit] ?? item.unit}: ${item.quantity}`).join(", ");
}

// The line below an answer: route, times, counts, charge, link to the receipt; filled when known.
export function receiptLine(id) {
  const line = element("p", { class: "receiptline", "data-request": id });
  if (!id) return line;
  const link = element("a", { href: `${config.requests}/${id}`, class: "link" }, texts.receipt);
  line.append(link);
  receipt(id).then(
    (found) => {
      const parts = [
        found.provider,
        found.first_byte_ms === null ? null : fill(texts.first_byte, { time: duration(found.first_byte_ms) }),
        duration(found.duration_ms),
        quantity(found.items),
      ];
      const words = parts.filter(Boolean).map((part) => element("span", {}, part));
      const charged = element("b", { "data-charged": found.amounts.charged }, usd(found.amounts.charged));
      line.replaceChildren(...words, charged, link);
    },
    () => {}, // the link to the receipt stays
  );
  return line;
}

export function failureBox(error) {
  const box = element("div", { class: "callout bad", role: "alert" });
  const inside = element("div", {}, element("div", {}, error.message));
  if (error instanceof Failure) {
    const line = element("div", { class: "muted" }, element("code", {}, error.code));
    if (error.requestId) {
      const href = `${config.requests}/${error.requestId}`;
      line.append(" ", element("a", { href, class: "link" }, error.requestId));
    }
    inside.append(line);
  }
  box.append(inside);
  return box;
}

// --- text of a model: paragraphs and code blocks, never HTML

export class Said {
  constructor(box) {
    this.box = box;
    this.text = "";
    this.due = false;
  }

  add(more) {
    this.text += more;
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.draw();
    });
  }

  draw() {
    const blocks = this.text.split(/^```/m);
    blocks.forEach((block, index) => {
      const isCode = index % 2 === 1;
      const tag = isCode ? "DIV" : "P";
      let node = this.box.children[index];
      if (node?.tagName !== tag) {
        const made = isCode
          ? element("div", { class: "code" }, element("pre", { tabindex: "0" }, element("code")))
          : element("p");
        if (node) node.replaceWith(made);
        else this.box.append(made);
        node = made;
      }
      const target = isCode ? node.querySelector("code") : node;
      const shown = isCode ? block.replace(/^[^\n]*\n?/, "") : index ? block.replace(/^\n/, "") : block;
      if (target.textContent !== shown) target.textContent = shown;
    });
  }
}

// --- the form: model, route, price

function options(select, values, text = (value) => value) {
  const first = select.options[0]?.value === "" ? [select.options[0]] : [];
  const before = select.value;
  select.replaceChildren(...first, ...values.map((value) => element("option", { value }, text(value))));
  if ([...select.options].some((one) => one.value === before)) select.value = before;
  if (select.closest(".field")) select.closest(".field").hidden = values.length === 0 && first.length > 0;
}

export class Form {
  // `models`: those of the page; `fields`: name -> the model's values for a select; `changed`: after.
  constructor(form, models, { fields = {}, units = () => ({}), request = () => null } = {}) {
    this.form = form;
    this.models = new Map(models.map((model) => [model.id, model]));
    this.fields = fields;
    this.units = units;
    this.request = request;
    form.elements.model.addEventListener("change", () => this.modelChanged());
    form.addEventListener("input", () => this.estimate());
    form.addEventListener("change", () => this.estimate());
    form.querySelector("[data-show-code]").addEventListener("click", () => this.showCode());
    queueMicrotask(() => this.modelChanged()); // not before the page's own script is through
  }

  get model() {
    return this.models.get(this.form.elements.model.value);
  }

  value(name) {
    return this.form.elements[name]?.value.trim() ?? "";
  }

  number(name) {
    const text = this.value(name);
    return text === "" ? undefined : Number(text);
  }

  // The members of a body that every operation has.
  base() {
    const body = { model: this.model?.id ?? "" };
    if (this.value("provider")) body.provider = this.value("provider");
    return body;
  }

  modelChanged() {
    const model = this.model;
    if (!model) return;
    options(this.form.elements.provider, model.providers);
    for (const [name, values] of Object.entries(this.fields)) {
      options(this.form.elements[name], values(model.capabilities ?? {}).map(String));
    }
    this.estimate();
  }

  // Price rows of the route; of several for one unit the one whose conditions hold and are most.
  price(unit) {
    const provider = this.value("provider") || this.model.default_provider || this.model.providers[0];
    const chosen = (name) => this.value(name) || this.model.capabilities?.[`default_${name}`];
    const rows = this.model.pricing.filter(
      (row) =>
        row.provider === provider &&
        row.unit === unit &&
        !row.context_above &&
        Object.entries(row.when).every(([name, value]) => String(chosen(name)) === String(value)),
    );
    rows.sort((a, b) => Object.keys(b.when).length - Object.keys(a.when).length);
    return rows[0];
  }

  // Prices are exact on the server; this sum is only for the eyes before sending.
  estimate() {
    const line = this.form.querySelector("[data-estimate]");
    if (!this.model) return;
    const priced = Object.entries(this.units(this)).map(([unit, count]) => [this.price(unit), count]);
    const known = priced.length > 0 && priced.every(([row, count]) => row && Number.isFinite(count));
    if (!known) {
      line.textContent = texts.estimate_unknown;
      return;
    }
    const sum = priced.reduce((total, [row, count]) => total + (Number(row.usd) / row.per) * count, 0);
    const digits = sum === 0 ? 2 : Math.min(12, Math.max(2, 1 - Math.floor(Math.log10(sum))));
    const shown = sum.toFixed(digits);
    line.textContent = fill(texts.estimate, { amount: usd(shown) });
  }

  showCode() {
    const call = this.request();
    const dialog = document.getElementById("code-dialog");
    for (const [name, text] of Object.entries(samples(call))) {
      dialog.querySelector(`[data-tab="${name}"] code`).textContent = text;
    }
    dialog.showModal();
  }
}

// Half a token per CJK character would be too little; one is about right, four letters likewise.
export function tokens(text) {
  let count = 0;
  for (const letter of text) count += letter > "\u2e7f" ? 1 : 0.25;
  return Math.ceil(count);
}

// A form is busy while a call runs; its button stops it where `stop` is given.
export async function busy(form, work) {
  const button = form.querySelector("[data-send]");
  button.setAttribute("aria-busy", "true");
  button.disabled = true;
  try {
    await work();
  } finally {
    button.disabled = false;
    button.removeAttribute("aria-busy");
  }
}

// --- the same call as code: {path, body} or {path, form: {name: value}, file}

const quoted = (text) => text.replaceAll("'", "'\\''");

function samples({ path, body, form, output }) {
  const url = `${config.base_url}${path}`;
  const auth = "Authorization: Bearer $TOKENMARKET_API_KEY";
  if (form) {
    const fields = Object.entries(form);
    return {
      curl: [`curl ${url}`, `-H "${auth}"`, ...fields.map(([name, value]) => `-F '${name}=${quoted(value)}'`), "-F file=@recording.wav"].join(" \\\n  "),
      Python: `import os\nimport httpx\n\nanswer = httpx.post("${url}",\n    headers={"Authorization": f"Bearer {os.environ['TOKENMARKET_API_KEY']}"},\n    data=${JSON.stringify(form)},\n    files={"file": open("recording.wav", "rb")})\nprint(answer.json())`,
      JavaScript: `import { readFile } from "node:fs/promises";\n\nconst form = new FormData();\n${fields.map(([name, value]) => `form.append(${JSON.stringify(name)}, ${JSON.stringify(value)});`).join("\n")}\nform.append("file", new Blob([await readFile("recording.wav")]), "recording.wav");\nconst answer = await fetch("${url}", {\n  method: "POST",\n  headers: { Authorization: \`Bearer \${process.env.TOKENMARKET_API_KEY}\` },\n  body: form,\n});\nconsole.log(await answer.json());`,
    };
  }
  const json = JSON.stringify(body, null, 2);
  const python = json.replace(/: true\b/g, ": True").replace(/: false\b/g, ": False").replace(/: null\b/g, ": None");
  return {
    curl: `curl ${url}${output ? ` -o ${output}` : ""} \\\n  -H "${auth}" \\\n  -H "Content-Type: application/json" \\\n  -d '${quoted(json)}'`,
    Python: `import os\nimport httpx\n\nanswer = httpx.post("${url}",\n    headers={"Authorization": f"Bearer {os.environ['TOKENMARKET_API_KEY']}"},\n    timeout=600,\n    json=${python.replaceAll("\n", "\n    ")})\n${output ? `open("${output}", "wb").write(answer.content)` : body.stream ? "print(answer.text)" : "print(answer.json())"}`,
    JavaScript: `const answer = await fetch("${url}", {\n  method: "POST",\n  headers: {\n    Authorization: \`Bearer \${process.env.TOKENMARKET_API_KEY}\`,\n    "Content-Type": "application/json",\n  },\n  body: JSON.stringify(${json.replaceAll("\n", "\n  ")}),\n});\n${output ? `await (await import("node:fs/promises")).writeFile("${output}", Buffer.from(await answer.arrayBuffer()));` : body.stream ? "console.log(await answer.text());" : "console.log(await answer.json());"}`,
  };
}
