// Images: one call, its pictures, its receipt.
import { busy, call, config, element, failureBox, Form, receiptLine, requestId, texts } from "./common.js";

const form = document.getElementById("play");
const results = document.getElementById("results");

const body = () => ({
  ...settings.base(),
  prompt: settings.value("prompt") || texts.hello,
  n: settings.number("n"),
  size: settings.value("size") || undefined,
  quality: settings.value("quality") || undefined,
  response_format: "b64_json",
});

const settings = new Form(form, config.models, {
  fields: {
    size: (can) => can.sizes ?? [],
    quality: (can) => can.qualities ?? [],
  },
  units: () => ({ image: settings.number("n") ?? 1 }),
  request: () => ({ path: "/images/generations", body: body() }),
});

function address(item, format) {
  if (!item.b64_json) return item.url;
  const bytes = Uint8Array.from(atob(item.b64_json), (letter) => letter.charCodeAt(0));
  return URL.createObjectURL(new Blob([bytes], { type: `image/${format ?? "png"}` }));
}

function picture(src, prompt, index, format) {
  const image = element("img", { src, alt: prompt });
  const name = `image-${index + 1}.${format ?? "png"}`;
  const link = element("a", { href: src, download: name, class: "link" }, texts.download);
  return element("figure", {}, image, element("figcaption", { class: "help" }, link));
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  busy(form, async () => {
    const asked = body();
    const box = element("section", { class: "stack" }, element("p", { class: "sub" }, asked.prompt));
    results.querySelector("[data-empty]")?.remove();
    results.prepend(box);
    try {
      const answer = await call("/images/generations", { body: asked });
      const found = await answer.json();
      const pictures = found.data.map((item, index) =>
        picture(address(item, found.output_format), asked.prompt, index, found.output_format),
      );
      box.append(element("div", { class: "pictures" }, ...pictures), receiptLine(requestId(answer)));
    } catch (error) {
      box.append(failureBox(error));
    }
  });
});
