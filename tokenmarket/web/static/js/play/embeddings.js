// Embeddings: the vectors of some texts, and how near they are to the first.
import { busy, call, config, element, failureBox, fill, Form, receiptLine, requestId, tableBox, texts, tokens } from "./common.js";

const form = document.getElementById("play");
const results = document.getElementById("results");
const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

const body = () => {
  const input = lines(settings.value("input"));
  return { ...settings.base(), input: input.length ? input : [texts.hello], dimensions: settings.number("dimensions") };
};

const settings = new Form(form, config.models, {
  units: () => ({ input_token: tokens(settings.value("input")) }),
  request: () => ({ path: "/embeddings", body: body() }),
});

function cosine(one, other) {
  let dot = 0;
  let left = 0;
  let right = 0;
  one.forEach((value, index) => {
    dot += value * other[index];
    left += value * value;
    right += other[index] * other[index];
  });
  return left && right ? dot / Math.sqrt(left * right) : 0;
}

function table(vectors, input) {
  const { text, vector, similarity } = results.dataset;
  const names = [text, vector, ...(vectors.length > 1 ? [similarity] : [])];
  const head = names.map((name, index) => element("th", { scope: "col", class: index === 2 ? "n" : "" }, name));
  const rows = vectors.map((values, index) => {
    const start = values.slice(0, 4).map((value) => value.toFixed(4)).join(", ");
    const cells = [
      element("th", { scope: "row", class: "wrap" }, input[index]),
      element("td", { class: "mono wrap" }, `[${start}, …]`),
    ];
    if (vectors.length > 1) cells.push(element("td", { class: "n" }, cosine(vectors[0], values).toFixed(4)));
    return element("tr", {}, ...cells);
  });
  return tableBox(head, rows);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  busy(form, async () => {
    const asked = body();
    try {
      const answer = await call("/embeddings", { body: asked });
      const vectors = (await answer.json()).data.map((item) => item.embedding);
      const count = element("p", { class: "sub" }, fill(results.dataset.dimensions, { n: vectors[0].length }));
      results.replaceChildren(count, table(vectors, asked.input), receiptLine(requestId(answer)));
    } catch (error) {
      results.replaceChildren(failureBox(error));
    }
  });
});
