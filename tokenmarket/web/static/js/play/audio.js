// Audio: text to speech, and a file or a recording to text.
import { busy, call, config, element, failureBox, Form, receiptLine, requestId, texts } from "./common.js";

const speech = document.getElementById("speech");
const transcription = document.getElementById("transcription");

// --- text to speech

const speechBody = () => ({
  ...speaking.base(),
  input: speaking.value("input") || texts.hello,
  voice: speaking.value("voice") || undefined,
  response_format: speaking.value("response_format"),
});

const speaking = new Form(speech, config.speech, {
  fields: { voice: (can) => can.voices ?? [] },
  units: () => ({ character: [...speaking.value("input")].length }),
  request: () => ({ path: "/audio/speech", body: speechBody(), output: `speech.${speaking.value("response_format")}` }),
});

speech.addEventListener("submit", (event) => {
  event.preventDefault();
  busy(speech, async () => {
    const results = speech.querySelector("[data-results]");
    const asked = speechBody();
    const box = element("section", { class: "stack" }, element("p", { class: "sub" }, asked.input));
    results.prepend(box);
    try {
      const answer = await call("/audio/speech", { body: asked });
      const src = URL.createObjectURL(await answer.blob());
      const name = `speech.${asked.response_format}`;
      const link = element("a", { href: src, download: name, class: "link" }, texts.download);
      box.append(element("audio", { controls: true, src }), link, receiptLine(requestId(answer)));
    } catch (error) {
      box.append(failureBox(error));
    }
  });
});

// --- speech to text

let recorded = null;
let seconds = NaN; // how long the file is, as far as this browser can tell

const listening = new Form(transcription, config.transcription, {
  units: () => ({ audio_second: seconds }),
  request: () => ({ path: "/audio/transcriptions", form: fields() }),
});

// The length of a chosen file stands in its header; a browser that cannot read it tells nothing,
// and then there is no estimate.
function measure(file) {
  seconds = NaN;
  listening.estimate();
  if (!file) return;
  const probe = new Audio();
  const told = () => {
    URL.revokeObjectURL(probe.src);
    if (file !== transcription.elements.file.files[0]) return; // another was chosen meanwhile
    if (Number.isFinite(probe.duration)) seconds = Math.ceil(probe.duration);
    listening.estimate();
  };
  probe.preload = "metadata";
  probe.addEventListener("loadedmetadata", told);
  probe.addEventListener("error", told);
  probe.src = URL.createObjectURL(file);
}

transcription.elements.file.addEventListener("change", () => measure(transcription.elements.file.files[0]));

function fields() {
  const chosen = { ...listening.base() };
  if (listening.value("language")) chosen.language = listening.value("language");
  return chosen;
}

transcription.addEventListener("submit", (event) => {
  event.preventDefault();
  const file = transcription.elements.file.files[0] ?? recorded;
  if (!file) return;
  busy(transcription, async () => {
    const results = transcription.querySelector("[data-results]");
    const data = new FormData();
    for (const [name, value] of Object.entries(fields())) data.append(name, value);
    data.append("file", file, file.name ?? "recording.webm");
    const box = element("section", { class: "stack" }, element("p", { class: "sub" }, file.name ?? texts.recording));
    results.prepend(box);
    try {
      const answer = await call("/audio/transcriptions", { body: data });
      const { text } = await answer.json();
      box.append(element("p", { class: "transcript break" }, text || texts.silence), receiptLine(requestId(answer)));
    } catch (error) {
      box.append(failureBox(error));
    }
  });
});

const record = transcription.querySelector("[data-record]");
const label = record.querySelector("span");
const idle = label.textContent;
let recorder = null;

record.addEventListener("click", async () => {
  if (recorder) {
    recorder.stop();
    return;
  }
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const parts = [];
    recorder = new MediaRecorder(stream);
    recorder.addEventListener("dataavailable", (event) => parts.push(event.data));
    const begun = performance.now();
    recorder.addEventListener("stop", () => {
      seconds = Math.ceil((performance.now() - begun) / 1000); // its header does not say
      recorded = new Blob(parts, { type: recorder.mimeType });
      transcription.elements.file.required = false;
      transcription.elements.file.value = "";
      for (const track of stream.getTracks()) track.stop();
      recorder = null;
      label.textContent = `${texts.recording}: ${Math.ceil(recorded.size / 1000)} kB`;
      listening.estimate();
    });
    recorder.start();
    label.textContent = record.dataset.stop;
  } catch {
    label.textContent = `${idle}: ${texts.no_microphone}`;
  }
});
