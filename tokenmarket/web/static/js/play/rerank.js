// Rerank: documents in the order of their score.
import { busy, call, config, element, failureBox, Form, receiptLine, requestId, tableBox, texts } from "./common.js";

const form = document.getElementById("play");
const results = document.getElementById("results");
const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);

const body = () => ({
  ...settings.base(),
  query: settings.value("query") || texts.hello,
  documents: lines(settings.value("documents")),
  top_n: settings.number("top_n"),
});

const settings = new Form(form, config.models, {
  units: () => (settings.price("search") ? { search: 1 } : {}),
  request: () => ({ path: "/rerank", body: body() }),
});

function table(found, documents) {
  const names = [results.dataset.rank, results.dataset.score, results.dataset.document];
  const head = names.map((name, index) => element("th", { scope: "col", class: index === 1 ? "n" : "" }, name));
  const rows = found.map((one, index) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, String(index + 1)),
      element("td", { class: "n" }, one.relevance_score.toFixed(4)),
      element("td", { class: "wrap" }, documents[one.index]),
    ),
  );
  return tableBox(head, rows);
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  busy(form, async () => {
    const asked = body();
    try {
      const answer = await call("/rerank", { body: asked });
      const found = await answer.json();
      results.replaceChildren(table(found.results, asked.documents), receiptLine(requestId(answer)));
    } catch (error) {
      results.replaceChildren(failureBox(error));
    }
  });
});
