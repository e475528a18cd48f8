// Chat: the conversation lives in this page only. An answer is streamed as it comes; stopping closes
// the connection, and what was written so far is charged and stays.
import { call, config, element, failureBox, Form, isStop, receiptLine, requestId, Said, texts, tokens } from "./common.js";

const form = document.getElementById("play");
const messages = document.getElementById("messages");
const prompt = form.elements.prompt;
const send = form.querySelector("[data-send]");
const spoken = [];
let running = null;

function body(history) {
  const system = settings.value("system");
  const stream = form.elements.stream.checked;
  return {
    ...settings.base(),
    messages: [...(system ? [{ role: "system", content: system }] : []), ...history],
    temperature: settings.number("temperature"),
    top_p: settings.number("top_p"),
    max_tokens: settings.number("max_tokens"),
    reasoning_effort: settings.value("reasoning_effort") || undefined,
    ...(stream ? { stream: true, stream_options: { include_usage: true } } : {}),
  };
}

const waiting = () => prompt.value.trim() || texts.hello;

const settings = new Form(form, config.models, {
  units: () => ({
    input_token: tokens(settings.value("system") + spoken.map((one) => one.content).join("") + prompt.value),
    output_token: settings.number("max_tokens") ?? settings.model.max_output_tokens ?? NaN,
  }),
  request: () => ({
    path: "/chat/completions",
    body: body([...spoken, { role: "user", content: waiting() }]),
  }),
});

function show(name, role) {
  messages.querySelector("[data-empty]")?.remove();
  const said = element("div", { class: "said" });
  const message = element("article", { class: `message ${role}` }, element("h3", {}, name), said);
  messages.append(message);
  return { message, said };
}

function atEnd() {
  messages.scrollTop = messages.scrollHeight;
}

// Events of a stream, one object each; ends with the answer.
async function* events(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    rest += value;
    const lines = rest.split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const data = line.startsWith("data:") ? line.slice(5).trim() : "";
      if (data && data !== "[DONE]") yield JSON.parse(data);
    }
  }
}

class Reply {
  constructor() {
    const { message, said } = show(settings.model.name, "assistant");
    this.message = message;
    this.box = said;
    this.said = new Said(said);
    this.thought = null;
    message.setAttribute("aria-busy", "true");
  }

  take(part) {
    const thought = part.reasoning_content ?? part.reasoning;
    if (thought) this.think(thought);
    if (part.content) this.said.add(part.content);
  }

  think(text) {
    if (!this.thought) {
      this.thought = element("p");
      const details = element("details", { class: "reasoning", open: true }, element("summary", {}, texts.reasoning), this.thought);
      this.box.before(details);
    }
    this.thought.append(text);
  }

  end() {
    this.said.draw();
    this.message.removeAttribute("aria-busy");
  }
}

async function converse(text) {
  show(texts.you, "user").said.append(element("p", {}, text));
  const history = [...spoken, { role: "user", content: text }];
  const reply = new Reply();
  let id = null;
  atEnd();
  try {
    const answer = await call("/chat/completions", { body: body(history), signal: running.signal });
    id = requestId(answer);
    if (answer.headers.get("content-type")?.startsWith("text/event-stream")) {
      for await (const event of events(answer)) {
        if (event.error) throw Object.assign(new Error(event.error.message), { code: event.error.code });
        reply.take(event.choices?.[0]?.delta ?? {});
        atEnd();
      }
    } else {
      reply.take((await answer.json()).choices[0].message);
    }
  } catch (error) {
    reply.message.append(isStop(error) ? element("p", { class: "muted" }, texts.stopped) : failureBox(error));
  }
  reply.end();
  if (id) reply.message.append(receiptLine(id));
  if (reply.said.text) spoken.push(history.at(-1), { role: "assistant", content: reply.said.text });
  atEnd();
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (running) {
    running.abort();
    return;
  }
  const text = prompt.value.trim();
  if (!text) return;
  running = new AbortController();
  prompt.value = "";
  send.textContent = texts.stop;
  await converse(text);
  running = null;
  send.textContent = texts.send;
  settings.estimate();
  prompt.focus();
});

// Enter that takes a candidate of an input method must not send; 229 is what Safari tells then.
prompt.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  if (!running) form.requestSubmit();
});

form.querySelector("[data-clear]").addEventListener("click", () => {
  running?.abort();
  spoken.length = 0;
  messages.replaceChildren();
  settings.estimate();
  prompt.focus();
});
